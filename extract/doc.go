// Package extract turns the bytes of a photo into faces: decode, detect, find landmarks, align, embed.
//
//	bytes ─▶ decode ─▶ upright RGB ─▶ detect ─▶ landmarks ─▶ align ─▶ embed ─▶ Face
//
// It promises:
//
//  1. A photo is refused by the size in its header before a pixel is decoded (Config.MaxPixels). Damaged bytes are
//     errors, never panics.
//  2. Photos at work and waiting are bounded by Config.Photos and Config.Queue; one more is ErrBusy.
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
// Templates may be compared only if landmarks, alignment, the embedder's input and weights are the same. The pack's
// manifest names that combination: its space.
//
// # Packs
//
// What is done before and after each model is what the pack's manifest says (package pack): steps is made of it, and
// immutable. The files adapter_*.go know the field's usual models: pixels writes any size, colour order, mean, deviation
// and layout; heads reads the outputs of UltraFace, SCRFD, RetinaFace and YuNet, bound by shape or by name when the graph
// is loaded, so that another graph fails there; aligner has ArcFace's template, dlib's chip and points of the pack's own. A pack
// may lack landmarks (then the detector finds five points), pose, eyes and liveness. A batch may be fixed, open or absent,
// float16 inputs and outputs get a Cast (pack.EditFloat32IO). Real weights were run of the packs "default" and "faceapi"
// only; SCRFD, RetinaFace and YuNet are tested on small graphs of their signatures, with a face known by hand.
//
// # Quality
//
// WantQuality runs three models (pose, open eyes, and the embedder's for the length of its template) and measures the face's pixels: 0.8 ms of a core for all measures
// together, and of a JPEG of 12 megapixels 4, because parts of it are decoded again (noisy machine; the models take 2.5). quality.go defines each measure, its mapping to 0..100 and what it
// can't tell. A pack without 68 points can't tell EyesOpen and MouthClosed: those are NaN, and not in Extractor.Measures. The
// unified score also looks at the template's length before it is normalised, where the embedder's typical length is known.
//
// # Liveness
//
// The model gives the probability of a person before the camera on two squares about the face, of 1.0 and 2.7 heights of its
// box: the face alone, and with what is around it. The score is the mean of both, taken as log-odds. Verdicts: spoof below
// .20, live from .75, uncertain between: ask for another photo or an active challenge. FuseLiveness judges several photos of
// one presentation, for Present (below). By itself three frames are not shown to tell
// more than one: of 20 people 90 % (70 to 97) are live by the first frame and by three, of 154 simulated attacks 26 % (20 to 33) and
// 24 % (18 to 31) (TestSequenceRates, -attacked 20 -seed 2). What it adds is that the frames are of one person and not one picture.
//
// It is a risk signal. It aims at printed photos and at screens. It catches them where the edge of a sheet or a device is
// seen near the face, and accepts many of those that fill the picture. Masks, deepfakes and injected video were not tested;
// AI-generated faces pass as real. It has not been certified by an accredited laboratory. It doesn't show that a picture
// comes from a camera: virtual cameras and modified browsers can inject one. Don't use it as the only barrier for anything of
// value.
//
// The thresholds are quantiles of real people: of 2,521 people of LFW, a photo each, 1.2 % are spoof and 4.6 % not live. There
// were no real attacks to measure but two photos, which are spoof; the third of that set, of a live person, is live. Attacks
// simulated from photos (make liveness ATTACKS='-attacked 60 -seed 2'; attack_test.go) compare methods and promise nothing about
// attackers, who choose the best of many. Shares of the verdicts, with 95 % intervals:
//
//	                            n   spoof %           not live %
//	people                   2521    1.2 (0.9–1.7)     4.6 (3.8–5.4)
//	people, retaken            61    1.6 (0.3–8.7)    13.1 (6.8–23.8)
//	print, border seen         60   75.0 (62.8–84.2)  90.0 (79.9–95.3)
//	screen, device seen        59   74.6 (62.2–83.9)  91.5 (81.6–96.3)
//	print, cut out             61   62.3 (49.7–73.4)  82.0 (70.5–89.6)
//	screen, further off        61   60.7 (48.1–71.9)  82.0 (70.5–89.6)
//	print, further off         61   57.4 (44.9–69.0)  82.0 (70.5–89.6)
//	screen, fills the photo    58   36.2 (25.1–49.1)  58.6 (45.8–70.4)
//	print, fills the photo     61   29.5 (19.6–41.9)  49.2 (37.1–61.4)
//	video on a screen          60   20.0 (11.8–31.8)  51.7 (39.3–63.8)
//
// What was tried to better it and left out, with figures on species and families of attacks left out of the fit: crops of
// 1.25, 1.5 and 1.8 heights and mirrored ones (a third run, of 1.5, takes a point or two off APCER, within the bounds; no
// two others are better). Peaks and slope of the spectrum (moiré): APCER falls by 6 points at a BPCER of 5 %, which rises as
// much on photos of another source. Straight lines beside the face: nothing. Local binary patterns, noise, sharpness
// against the background: worse than without. The darkest level and the saturation of the face: the most, from 42 to 21 %. They
// stay out all the same: they judge by ink and screens that we drew ourselves, call the one real phone replay more alive than the
// model does, take BPCER on another source from 10 to 15 %, and would judge people by the colour of their skin and grey photos
// as pictures.
//
// # Presentations
//
// A presentation is a first look into the camera (Centre) and challenges, each with some frames. Present judges it, Satisfied one
// step of it, Look one frame while the person moves. All three are functions of faces and thresholds: they read no clock, keep nothing, and run no model.
//
//	P1. The verdict is never better than that of the frames' passive liveness, of all together (FuseLiveness).
//	P2. Every two frames are of one person, by a cosine that may be lower where heads are turned apart, or it is not Live.
//	P3. No two frames are the same picture, or it is not Live.
//	P4. A movement counts if the step shows its beginning too, and by the way of the person's own frame that looks into the camera.
//	P5. In a turn and in LookUp the nose moves against eyes and mouth, to the side that the head turns to, by more than a flat
//	    picture's would (parallax): the pose model alone takes a tilted picture for a turned head.
//	P6. In Flash the chroma of the face follows the colours shown, after what is around it was taken off, with at most one shot's
//	    delay. A screen that shows a face takes on the light as a whole, if at all.
//	P7. What is matched (Best) was judged: it is one of the frames, and does not look like a picture by itself either, so that frames of a picture
//	    can't hide among more that are live.
//
// Where PresentationPolicy's defaults come from (make liveness ATTACKS='-attacked 60 -seed 2'; counts, and percent with 95 % bounds). LFW's photos
// of a person were taken years apart, and some are of somebody else: within a minute people differ less, so the misses are too many.
//
//	heads less than 20° apart, cosine .42   one person taken for two     75 of 4,232    1.8 (1.4–2.2)
//	                                        two people taken for one     28 of 284,353  .010 (.007–.014)
//	heads further apart, cosine .36         one person taken for two     43 of 2,835    1.5 (1.1–2.0)
//	                                        two people taken for one    119 of 215,002  .055 (.046–.066)
//	a turn of 20° and more by the pose      the nose moved by .09     1,416 of 1,430   99.0 (98.4–99.4)
//	a chin raised by 12 to 15°              the nose moved by .05       238 of 316     75.3 (70.3–79.7)
//	a chin raised by 15° and more           the nose moved by .05       484 of 521     92.9 (90.4–94.8)
//
// Who falls short is asked to turn or to look up a little more. Photos of 38 people, held before a simulated camera, are taken for a head that
// has turned, by the pose model alone and with the nose:
//
//	moved, scaled, rolled, flat up to 30°   none of 608               none of 608
//	flat, turned by 45°                       8 of 152 (2.7–10.0)     none of 152 (0–2.5)
//	flat, turned by 60°                      28 of 141 (14.1–27.2)      2 of 141 (0.4–5.0)
//	flat, turned and bent back by 45°        26 of 59 (32.2–56.7)       4 of 59 (2.7–16.2)
//	bent less than a head is, 45°            24 of 151 (10.9–22.6)      6 of 151 (1.8–8.4)
//	bent about as a head is, 45°             72 of 152 (39.6–55.3)     51 of 152 (26.5–41.4)
//
// For LookUp none of all 1,643 was. So a flat picture hardly passes, and a sheet that is bent round a head and turned often does: that needs more than
// one challenge, and the passive part. A film of the person on a screen passes every challenge that it shows; the order is not known before, and
// that is all. These figures compare methods, as those of "Liveness" do, and promise nothing about attackers, who choose the best of many.
//
// Of photos held up in these ways 9 of 1,555 (0.3–1.1) seem to have closed their eyes, any one of which would do; nobody who blinks was there to be
// measured. So Blink is the weakest challenge. Flash was tested on made-up colours only: how much of a screen's light a face takes
// on by day is not known here, so pages should leave it out unless asked. Packs without 68 points have no nose to go by: no turn and no LookUp satisfies there.
//
// # Memory and threads
//
// Config.Workers is how many cores may compute at once; extractors of several packs may share them (Config.Cores).
// Whatever computes holds one: decoding, geometry, filling a tensor, a model run on the CPU, which uses one thread. So
// busy threads are never more than workers. A photo holds a core from decoding to its last face. What is independent
// then, the models of a face and the faces of a group photo, also runs on cores that nobody else wants: a single photo on
// an idle machine is done sooner, and a busy machine does photos side by side. Tensors are allocated once, pinned (ort.go
// says why) and reused; crops, sums and rows come from pools. The trials of New hold no core: packs are loaded before photos come.
//
// How the items of a model go into runs is measured when an Extractor is made, or told by Config.Batching (see Strategy;
// Extractor.Plan and mien doctor show it). On the CPU items of different photos never wait for each other, and most models are
// run on one item at a time: larger batches gain little there or lose. On a device of its own, items of all photos at work
// share runs: a call fills its slots of the batch, gives its core back and waits, 3 ms at most before the run begins if the
// device is idle, and not at all once no core computes.
//
// Settings of ONNX Runtime that were measured on the default pack (1.30, two cores of a Xeon with AVX-512 and AMX): its
// arena gains 2 to 6 %, so it stays; memory patterns and denormals as zero change nothing (the pack's weights hold no
// denormals any more); without the layout optimisations of the highest level the detector takes almost three times as
// long; a second thread for a run that may spin saves a quarter of its time for twice the cores, and one that may not
// saves nothing.
//
// # Execution providers
//
// Config.Devices names what models run on. Only the CPU has been run. CUDA, TensorRT, OpenVINO, CoreML, DirectML and
// WebGPU are wired as their documentation says and have never run a model here: there was no device. ONNX Runtime's
// library for the CPU has WebGPU, and neither OpenVINO nor XNNPACK. What is tested without a device is that asking for
// what the library lacks fails with the reason, that auto falls back to the CPU, and, with a device that only sleeps,
// that runs are shared.
//
// # Large photos
//
// A JPEG of more than a megapixel is decoded by parts (package jpeg). The detector sees an overview at 1/2, 1/4 or 1/8, no
// less than twice its canvas; what a crop reads is decoded for it at the least size that leaves the crop's own blur within a sixth of
// what it was, and turned upright by itself. Against decoding in full, over 12-megapixel photos of the test faces enlarged 2 to 6
// times, in all eight orientations, templates are at cosine 0.9993 and better (TestLargePhotos); boxes move by a
// pixel or two, and now and then by a pixel of the canvas, 14 of such a photo, where two anchors of the detector see the
// face alike. Photos up to a megapixel, and PNG, BMP and WebP, are decoded whole, and their templates are as they were
// to the last bit.
//
// Pixels of photos and parts and the decoder's buffers are handed from photo to photo by pools: of images up to a megapixel,
// and of what package jpeg says.
//
// # Differences from OpenCV, on which the reference ran
//
// Interpolation is in float32 instead of 5-bit fixed point (cosine 0.9999 of the reference). The anti-aliasing blur
// runs on the crop's footprint alone, with equal results. Transparency is laid over white; OpenCV drops it and so shows
// colours that no viewer shows.
package extract
