// Package pack is the model pack on disk: a folder with a manifest and the ONNX files of one way to turn a face into
// a template. [Load] opens one and [Definition.Build] makes one from the npm packages that publish the models.
//
// It promises:
//
//   - P1: what Load returns was whole at that moment: every file named by the manifest is there and has its sha256.
//   - P2: a folder never looks complete before it is. Build writes to a temporary sibling, syncs it and renames it.
//   - P3: Build gives the same bytes everywhere. Sources and results are pinned by sha256 in the definition; a byte off
//     is an error and nothing is installed.
//   - P4: bad bytes are errors ([ErrCorrupt], [ErrBadModel]), never panics, and no length read from a file is
//     allocated before it was checked against what is left.
//   - P5: a manifest of format 1 means for ever what it meant when templates were stored by it ([Manifest.Steps]).
//   - P6: two packs have one space ID only if their templates may meet: weights, crops, colours and alignment are the
//     same ([Manifest.SpaceID]).
//
// The folder:
//
//	build/models/default/
//	    manifest.json            format, name, space, files by role with sha256, licence, pipeline, calibration
//	    LICENSE                  the licence file of the source package, as published
//	    detect_fr_320x240.onnx   one file for each role that the pack has
//	    …
//
// Models that are published as bare weights of TensorFlow.js ([Weights]) are put into a graph that is written here node
// by node.
//
// The published graphs have a batch of 1 baked in and spend most of the embedder's time in PRelu, which ONNX Runtime
// runs slowly; the edits that mend both ([Edit]) work on the wire format of ONNX's ModelProto and copy every field they
// do not change byte for byte, unknown ones included. onnx.proto itself is not compiled in: the edits touch a dozen
// fields of a stable format, and a generated decoder would weigh a hundred times this package.
//
// The package reads no environment and has no cgo.
package pack
