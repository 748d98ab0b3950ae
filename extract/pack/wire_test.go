package pack

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func TestParseThenAppendIsIdentity(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":                   {},
		"varint":                  {0x08, 0x96, 0x01},
		"varint longer than need": {0x08, 0x81, 0x80, 0x00},
		"tag longer than need":    {0x88, 0x00, 0x01},
		"length longer than need": {0x12, 0x81, 0x00, 'x'},
		"fixed":                   {0x0d, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8},
		"group":                   {0x0b, 0x08, 0x01, 0x0c, 0x10, 0x02},
	} {
		m, err := parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := m.append(nil); !bytes.Equal(got, b) {
			t.Errorf("%s: %x became %x", name, b, got)
		}
	}
}

// damaged are messages that no decoder may accept.
var damaged = map[string][]byte{
	"tag cut short":          {0x88},
	"varint cut short":       {0x08, 0x96},
	"varint of 11 bytes":     {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
	"fixed32 cut short":      {0x0d, 1, 2, 3},
	"fixed64 cut short":      {0x11, 1, 2, 3, 4, 5, 6, 7},
	"bytes cut short":        {0x12, 0x05, 'x'},
	"length of 2^63":         {0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 'x'},
	"length of 2^31":         {0x12, 0x80, 0x80, 0x80, 0x80, 0x08, 'x'},
	"length cut short":       {0x12, 0x80},
	"field number 0":         {0x00, 0x01},
	"field number 2^29+7":    {0xba, 0x80, 0x80, 0x80, 0x10, 0x00},
	"wire type 6":            {0x0e, 0x01},
	"wire type 7":            {0x0f, 0x01},
	"group without an end":   {0x0b, 0x08, 0x01},
	"end without a group":    {0x0c},
	"group ended by another": {0x0b, 0x14},
	"groups 20,000 deep":     bytes.Repeat([]byte{0x0b}, 20_000),
}

func TestParseRefusesDamage(t *testing.T) {
	for name, b := range damaged {
		if m, err := parse(b); !errors.Is(err, ErrBadModel) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

// Damage anywhere on the way down to what an edit reads is an error of Rewrite too.
func TestRewriteRefusesDamageAtEveryDepth(t *testing.T) {
	edits := []Edit{EditDynamicBatch, EditPRelu, EditFloat32IO}
	for name, bad := range damaged {
		f := bytesField(graphNode, bad)
		models := map[string][]byte{
			"model":       bad,
			"graph":       message{bytesField(modelGraph, bad)}.append(nil),
			"node":        model(message{f}),
			"initialiser": model(message{bytesField(graphInitializer, bad)}),
			"input":       model(message{bytesField(graphInput, bad)}),
			"type":        model(message{messageField(graphInput, message{bytesField(valueType, bad)})}),
			"attribute": model(message{node("Reshape", []string{"x", "s"}, "y"),
				node("Constant", nil, "s", bytesField(nodeAttribute, bad))}),
			"tensor": model(message{node("Reshape", []string{"x", "s"}, "y"), constant("s", message{bytesField(tensorDims, bad)})}),
		}
		for where, b := range models {
			if name != "groups 20,000 deep" && where == "tensor" {
				continue // as packed dims many of these are good varints
			}
			if _, err := Rewrite(b, edits...); !errors.Is(err, ErrBadModel) {
				t.Errorf("%s in %s: %v", name, where, err)
			}
		}
	}
}

func TestRewriteRefusesWrongWireTypes(t *testing.T) {
	x := []string{"x", "s"}
	shape := listedInts("s", true, 1, -1)
	for name, b := range map[string][]byte{
		"graph":         message{varintField(modelGraph, 1)}.append(nil),
		"node":          model(message{varintField(graphNode, 1)}),
		"op_type":       model(message{messageField(graphNode, message{varintField(nodeOpType, 1)})}),
		"node input":    model(message{messageField(graphNode, message{varintField(nodeInput, 1)})}),
		"initialiser":   model(message{varintField(graphInitializer, 1)}),
		"name":          model(message{initializer(message{varintField(tensorName, 1)})}),
		"graph input":   model(message{varintField(graphInput, 1)}),
		"input's type":  model(message{messageField(graphInput, message{varintField(valueType, 1)})}),
		"attribute":     model(message{node("Reshape", x, "y"), node("Constant", nil, "s", varintField(nodeAttribute, 1))}),
		"dims":          model(message{node("Reshape", x, "y"), initializer(append(shape.without(tensorDims), field{num: tensorDims, typ: protowire.Fixed32Type, val: []byte{2, 0, 0, 0}}))}),
		"raw_data":      model(message{node("Reshape", x, "y"), initializer(append(shape.without(tensorInt64Data), varintField(tensorRawData, 1)))}),
		"external data": model(message{node("Reshape", x, "y"), initializer(append(shape, varintField(tensorExternalData, 1)))}),
	} {
		if _, err := Rewrite(b, EditDynamicBatch); !errors.Is(err, ErrBadModel) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRewriteRefusesNoneAndTwoGraphs(t *testing.T) {
	graph := messageField(modelGraph, message{node("Relu", []string{"x"}, "y")})
	for name, m := range map[string]message{"none": nil, "two": {graph, graph}} {
		if _, err := Rewrite(m.append(nil)); !errors.Is(err, ErrBadModel) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRewrite(f *testing.F) {
	for _, b := range damaged {
		f.Add(b)
		f.Add(model(message{bytesField(graphNode, b)}))
	}
	f.Add(dynamicModel())
	f.Add(preluModel())
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		if m, err := parse(b); err == nil && !bytes.Equal(m.append(nil), b) {
			t.Fatalf("parse and append changed %x", b)
		}
		for _, e := range []Edit{EditDynamicBatch, EditPRelu, EditZeroTiny} {
			out, err := Rewrite(b, e)
			if err != nil {
				if !errors.Is(err, ErrBadModel) {
					t.Fatalf("%s: %v", e, err)
				}
				continue
			}
			if again, err := Rewrite(out, e); err != nil || !bytes.Equal(again, out) {
				t.Fatalf("%s: a second time: %v, %x became %x", e, err, out, again)
			}
		}
		if !bytes.Equal(b, before) {
			t.Fatal("Rewrite wrote into its input")
		}
	})
}
