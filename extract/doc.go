// Package extract turns the bytes of a photo into faces: decode, detect, find landmarks, align, embed.
//
//	bytes ─▶ decode ─▶ upright RGB ─▶ detect 320×240 ─▶ landmarks 64×64 ─▶ align 112×112 ─▶ embed ─▶ Face
//
// It promises:
//
//  1. A photo is refused by the size in its header before a pixel is decoded (Config.MaxPixels). Damaged bytes are
//     errors, never panics.
//  2. Photos at work and waiting are bounded by Config.Workers and Config.Queue; one more is ErrBusy.
//  3. The pipeline of preprocessing version 1 agrees with the reference values of the default pack (testdata/golden:
//     boxes and landmarks within a pixel, templates at cosine ≥ 0.999). Whatever would break that is a new version, and
//     so a new embedding space.
//  4. A Face owns its memory.
//
// It refuses no face for its quality or liveness, and decides nothing about identity. The one exception is the least
// height of a face where exactly one is asked for, because an embedding of fewer pixels is noise.
//
// # Embedding space
//
// Templates may be compared only if detector, landmarks, alignment and weights are the same. The pack's manifest
// names that combination: embedder, dimension, preprocessing version, first digits of the weights' sha256.
//
// # Liveness
//
// The score is the mean of the model's probability of a live person on two squares about the face, of 1.0 and 2.7
// heights of its box: the face alone, and with what is around it. It is a risk signal. It aims at screen replays and
// printed photos, catches the former fairly well and accepts most of the latter; masks, cut-outs and deepfakes are
// untested, and AI-generated faces pass as real. It has not been certified by an accredited laboratory. It doesn't show
// that a picture comes from a camera: virtual cameras and modified browsers can inject one. Don't use it as the only
// barrier for anything of value.
//
// # Memory and threads
//
// A worker is the memory for one photo at a time: its tensors are allocated once, pinned (ort.go says why) and reused. A
// call holds a worker from decoding to the last face, so there are never more busy threads than workers, and each
// model run uses one thread. Batches of one are not an oversight: on a CPU, runs side by side are 14 to 20 %
// faster per face than batches (measured on the default pack with ONNX Runtime 1.30, one thread a run).
//
// # Differences from OpenCV, on which the reference ran
//
// Interpolation is in float32 instead of 5-bit fixed point (cosine 0.9999 of the reference). The anti-aliasing blur
// runs on the crop's footprint alone, with equal results. Transparency is laid over white; OpenCV drops it and so shows
// colours that no viewer shows.
package extract
