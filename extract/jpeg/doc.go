// Package jpeg decodes JPEG photos for face pipelines: a small overview of the whole photo to find faces in, then the
// pixels of each face at the size that is needed, from coded data that are read once.
//
//	data ─▶ unstuff ─▶ Huffman ─┬─▶ 8×8, 4×4, 2×2 or 1×1 inverse DCT ─▶ planes of the overview ─▶ RGB
//	                            └─▶ a mark for each 16 MCUs, or all coefficients
//	                                   └─▶ Region: Huffman again (from the mark) ─▶ inverse DCT ─▶ RGB
//
// It reads what image/jpeg reads: sequential and progressive Huffman coding of 8 bits; grey, YCbCr, RGB, CMYK and
// YCCK; luma by 1, 2 or 4 with colour by 1 or 2 of it; restart markers; one scan or several. It promises:
//
//  1. In full size, the pixels are those of image/jpeg with colour interpolated by the triangle filter and Adobe's CMYK
//     converted as package color does, bit for bit: embeddings depend on them.
//  2. A pixel is the same whatever region it is asked for with, and whatever segments lie behind its scan.
//  3. Damage is an error, never a panic: ErrFormat, ErrTruncated. Arithmetic coding, lossless, hierarchical and 12-bit
//     frames are ErrUnsupported. What image/jpeg refuses is refused, but for one-component frames with odd factors.
//  4. Decoding stops when its context ends, at the next segment or row of MCUs.
//
// It refuses three things more than image/jpeg, all against T.81: Huffman tables of more codes than their lengths
// allow; coefficients beyond 16 bits or AC coefficients before DC in a progressive frame; photos of no pixels. And more
// than 100 scans, for each may cost a walk over the whole photo in a few bytes.
//
// # Memory and time
//
// A photo of one sequential scan takes its coded bytes without stuffing, an overview's planes and some 32 bytes for each
// 16 MCUs (94 KB for 12 megapixels of 4:2:0). A progressive one, or one of several scans, takes its coefficients as well, 2
// bytes a sample and 8 a block: 3.2 bytes a pixel with 4:2:0, 6.4 with 4:4:4, 8.5 with CMYK. No memory for blocks is taken before the data
// are long enough to hold a bit for each. Time is bounded by pixels × scans,
// of which a scan that only refines takes a nanosecond or two a block where nothing is to refine, and else time by its bits.
//
// Buffers go from photo to photo by a pool, whose members keep at most 20 MB each of coded bytes, overview and region
// and 40 MB of coefficients for each component.
//
// # Choices
//
// Coefficients of sequential photos are not kept: reading a face's blocks again costs less than writing
// all blocks to memory. Values that the overview's inverse DCT does not read are passed over by a table that takes several
// coefficients at a look. The reduced inverse DCTs are libjpeg's idea, with each frequency damped as the mean of the
// pixels would damp it, for those means are what the pipeline's blur and area filters make of full pixels. Colour that is
// stored reduced both ways is not reduced by more than it lacks.
package jpeg
