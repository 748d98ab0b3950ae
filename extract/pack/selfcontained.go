package pack

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// kind is a message of onnx.proto through which a way leads to tensors or nodes.
type kind int

const (
	aModel kind = iota
	aTraining
	aFunction
	aGraph
	aNode
	anAttribute
	aSparse
	aTensor
)

// ways are the fields of each kind that hold messages of a kind.
var ways = map[kind]map[protowire.Number]kind{
	aModel:      {modelGraph: aGraph, modelTraining: aTraining, modelFunction: aFunction},
	aTraining:   {trainingInitialization: aGraph, trainingAlgorithm: aGraph},
	aFunction:   {functionNode: aNode, functionAttribute: anAttribute},
	aGraph:      {graphNode: aNode, graphInitializer: aTensor, graphSparse: aSparse},
	aNode:       {nodeAttribute: anAttribute},
	aSparse:     {sparseValues: aTensor, sparseIndices: aTensor},
	anAttribute: {attributeTensor: aTensor, attributeTensors: aTensor, attributeGraph: aGraph, attributeGraphs: aGraph, attributeSparse: aSparse, attributeSparses: aSparse},
}

// maxNesting is how deep messages may be in each other: as deep as protobuf's own C++ parser goes.
const maxNesting = 100

// SelfContained looks through a whole ONNX model and returns an error if ONNX Runtime would look outside of it when it
// loads it: for tensors that are kept in other files, or at an address in memory, or for a compiled part of another file.
// Whoever made such a model chooses which file that is, and a template could carry it out. A model in ONNX Runtime's own
// format is refused too. It allocates nothing that grows with the model, and reads no weights: .03 to .35 ms for each of the
// default pack's models. Errors: ErrBadModel.
func SelfContained(model []byte) error {
	if len(model) >= 8 && string(model[4:8]) == "ORTM" {
		return fmt.Errorf("%w: it is in ONNX Runtime's own format: convert it from ONNX again", ErrBadModel)
	}
	return aModel.walk(model, 0)
}

// walk looks at the message b and at all below it. Records that are there twice, which protobuf merges or of which the last
// counts, are all looked at.
func (k kind) walk(b []byte, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("%w: messages are nested deeper than %d", ErrBadModel, maxNesting)
	}
	return eachField(b, func(f field) error {
		if err := k.refuses(f); err != nil {
			return err
		}
		below, ok := ways[k][f.num]
		if !ok {
			return nil
		}
		if f.typ != protowire.BytesType {
			return fmt.Errorf("%w: field %d has wire type %d, not bytes", ErrBadModel, f.num, f.typ)
		}
		return below.walk(f.val, depth+1)
	})
}

// refuses is an error for a field that points outside of the model.
func (k kind) refuses(f field) error {
	switch {
	case k == aTensor && f.num == tensorExternalData, k == aTensor && f.num == tensorLocation && !f.isZero():
		return fmt.Errorf("%w: a tensor's data is not in the file: save the model as one file without external data", ErrBadModel)
	case k == aNode && f.num == nodeOpType && string(f.val) == "EPContext":
		return fmt.Errorf("%w: a part of it is compiled for a device and may be in another file: use the model as it was before", ErrBadModel)
	}
	return nil
}

// isZero says that f is the integer 0.
func (f field) isZero() bool {
	v, n := protowire.ConsumeVarint(f.val)
	return f.typ == protowire.VarintType && n > 0 && v == 0
}
