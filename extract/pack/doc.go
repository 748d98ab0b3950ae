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
//   - P7: a model is its file: none is added, nor run by package extract, that makes ONNX Runtime read anything else
//     ([SelfContained]).
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
// # A pack of your own
//
// A folder with the files and a manifest of format 2 becomes a pack by `mien packs add FOLDER`, which fills in the sums
// and the space, and refuses what does not load; `mien packs check --pack NAME PHOTO…` then shows what it finds. Every
// field is described with [Pipeline]. For InsightFace's buffalo_l, whose five other files are not used:
//
//	{
//	  "format": 2,
//	  "name": "buffalo_l",
//	  "space": "",
//	  "dim": 512,
//	  "files": {
//	    "detector": {"file": "det_10g.onnx", "sha256": ""},
//	    "embedder": {"file": "w600k_r50.onnx", "sha256": ""}
//	  },
//	  "licence": "InsightFace's code is MIT; its models are released for non-commercial research only.",
//	  "use": "Research. Commercial use needs a licence from InsightFace. No liveness: nothing tells a photo from a person.",
//	  "pipeline": {
//	    "detector": {
//	      "adapter": "scrfd",
//	      "input": {"width": 640, "height": 640, "colour": "rgb", "mean": [127.5], "std": [128]},
//	      "pad": 0, "place": "corner", "score": 0.5, "iou": 0.4
//	    },
//	    "align": {"template": "arcface112"},
//	    "embedder": {"input": {"width": 112, "height": 112, "colour": "rgb", "mean": [127.5], "std": [127.5]}}
//	  }
//	}
//
// The weights' licence binds whoever runs them: mien doesn't ship them and can't permit what it forbids. Without
// "calibration" such a pack can be checked and evaluated, but decides nothing: its rates of error are not known. `mien
// evaluate --calibration FILE` measures them on your photos, `mien packs calibrate` puts the file into the manifest.
//
// Other models differ in these fields:
//
//	detector   UltraFace   "ultraface", rgb, mean 127, std 128; finds no points: needs "landmarks"
//	           YuNet       "yunet" (2023mar, 640×640), bgr, mean 0, std 1, pad 0, corner, score 0.6
//	           RetinaFace  "retinaface" (mobilenet0.25 with its softmax), bgr, mean [104, 117, 123], std 1
//	embedder   AdaFace     bgr, mean 127.5, std 127.5, "output" the 512 numbers' name
//	           SFace       rgb, mean 0, std 1, dim 128
//	           dlib        "align": {"template": "dlib150"}, 150×150, as in the pack "faceapi"
//
// None of these has been run here with its real weights but UltraFace and dlib's: the others are tested on small graphs of
// the same signature (package extract), by the arithmetic that their projects publish.
//
// The package reads no environment and has no cgo.
package pack
