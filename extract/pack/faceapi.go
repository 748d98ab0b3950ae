package pack

// The two nets of face-api (the npm package @vladmandic/face-api) as its TypeScript sources describe them, from NHWC to
// NCHW. Both take RGB 0..255 and subtract the mean colour themselves.

// faceAPIMean is the mean colour that face-api subtracts before it divides by 255.
var faceAPIMean = []float32{122.782, 117.001, 104.298}

func (b *builder) faceAPIInput(size int64) string {
	x := b.input("input", 3, size, size)
	x = b.node("Sub", []string{x, b.floats([]int64{1, 3, 1, 1}, faceAPIMean...)})
	return b.node("Div", []string{x, b.floats(nil, 255)})
}

// buildRecognition is FaceRecognitionNet: dlib's ResNet of 29 convolutions, float32[N,3,150,150] → float32[N,128].
func buildRecognition(b *builder) {
	r := &residuals{builder: b, x: b.faceAPIInput(150), size: 150}
	r.x = r.scaled(r.x, "conv32_down", 7, 2, 0, true)
	r.size = (r.size-7)/2 + 1
	r.x = b.node("MaxPool", []string{r.x}, intsAttribute("kernel_shape", 3, 3), intsAttribute("strides", 2, 2))
	r.size = (r.size-3)/2 + 1
	for _, name := range []string{"conv32_1", "conv32_2", "conv32_3"} {
		r.same(name)
	}
	r.down("conv64_down", 32, 64)
	for _, name := range []string{"conv64_1", "conv64_2", "conv64_3"} {
		r.same(name)
	}
	r.down("conv128_down", 64, 128)
	r.same("conv128_1")
	r.same("conv128_2")
	r.down("conv256_down", 128, 256)
	r.same("conv256_1")
	r.same("conv256_2")
	r.down("conv256_down_out", 256, 256)
	x := b.node("Flatten", []string{b.node("GlobalAveragePool", []string{r.x})})
	fc := b.weight("fc", 256, 128)
	b.output(b.node("MatMul", []string{x, b.floats(fc.shape, fc.v...)}), "embedding", 128)
}

// residuals is the state of buildRecognition between blocks.
type residuals struct {
	*builder
	x    string
	size int64 // side of x in pixels
}

// scaled is a convolution, a scale and a shift per channel folded into it, and perhaps a Relu.
func (r *residuals) scaled(x, name string, kernel, stride, pad int64, relu bool) string {
	f := r.weight(name+"/conv/filters", kernel, kernel, -1, -1)
	out := f.shape[3]
	bias, scale, shift := r.weight(name+"/conv/bias", out), r.weight(name+"/scale/weights", out), r.weight(name+"/scale/biases", out)
	if r.err != nil {
		return ""
	}
	folded, b := array{f.shape, make([]float32, len(f.v))}, make([]float32, out)
	for i, v := range f.v {
		folded.v[i] = v * scale.v[int64(i)%out]
	}
	for i := range b {
		b[i] = float32(bias.v[i]*scale.v[i]) + shift.v[i]
	}
	y := r.conv(x, folded, b, stride, false, pad, pad, pad, pad)
	if relu {
		y = r.node("Relu", []string{y})
	}
	return y
}

// same is a residual block that keeps the size.
func (r *residuals) same(name string) {
	y := r.scaled(r.scaled(r.x, name+"/conv1", 3, 1, 1, true), name+"/conv2", 3, 1, 1, false)
	r.x = r.node("Relu", []string{r.node("Add", []string{y, r.x})})
}

// down is a residual block that halves the size. The convolution has no padding, so it may come out one short of the
// pooled input: a row and a column of zeros are added. Channels that the input lacks are zeros too.
func (r *residuals) down(name string, in, out int64) {
	y := r.scaled(r.scaled(r.x, name+"/conv1", 3, 2, 0, true), name+"/conv2", 3, 1, 1, false)
	pooled := r.node("AveragePool", []string{r.x}, intsAttribute("kernel_shape", 2, 2), intsAttribute("strides", 2, 2))
	short := (r.size-2)/2 - (r.size-3)/2
	r.size = (r.size-2)/2 + 1
	if short > 0 {
		y = r.node("Pad", []string{y, r.ints(0, 0, 0, 0, 0, 0, short, short)})
	}
	if in != out {
		pooled = r.node("Pad", []string{pooled, r.ints(0, 0, 0, 0, 0, out-in, 0, 0)})
	}
	r.x = r.node("Relu", []string{r.node("Add", []string{pooled, y})})
}

// buildLandmarks is FaceLandmark68Net: four dense blocks of separable convolutions, float32[N,3,112,112] →
// float32[N,136], x and y of 68 points as shares of the crop.
func buildLandmarks(b *builder) {
	x := b.faceAPIInput(112)
	first := b.weight("dense0/conv0/filters", 3, 3, 3, 32)
	x = b.denseBlock(b.conv(x, first, b.weight("dense0/conv0/bias", 32).v, 2, false, 0, 0, 1, 1), "dense0", 32)
	for i, name := range []string{"dense1", "dense2", "dense3"} {
		in := int64(32) << i
		x = b.denseBlock(b.separable(x, name+"/conv0", in, 2*in, 2), name, 2*in)
	}
	x = b.node("Flatten", []string{b.node("AveragePool", []string{x}, intsAttribute("kernel_shape", 7, 7), intsAttribute("strides", 2, 2))})
	fc, bias := b.weight("fc/weights", 256, 136), b.weight("fc/bias", 136)
	x = b.node("MatMul", []string{x, b.floats(fc.shape, fc.v...)})
	b.output(b.node("Add", []string{x, b.floats(bias.shape, bias.v...)}), "output", 136)
}

// denseBlock adds to the output of a block's first convolution those of three more, each of which sees the sum so far.
func (b *builder) denseBlock(x, name string, channels int64) string {
	sum := b.node("Relu", []string{x})
	in := sum
	for _, conv := range []string{"/conv1", "/conv2", "/conv3"} {
		sum = b.node("Add", []string{sum, b.separable(in, name+conv, channels, channels, 1)})
		in = b.node("Relu", []string{sum})
	}
	return in
}

// separable is TensorFlow's separable convolution with padding "same": 3×3 of depth alone, then 1×1. At stride 2 that
// pads an even size at the bottom and the right only.
func (b *builder) separable(x, name string, in, out, stride int64) string {
	pads := []int64{1, 1, 1, 1}
	if stride == 2 {
		pads = []int64{0, 0, 1, 1}
	}
	x = b.conv(x, b.weight(name+"/depthwise_filter", 3, 3, in, 1), nil, stride, true, pads...)
	return b.conv(x, b.weight(name+"/pointwise_filter", 1, 1, in, out), b.weight(name+"/bias", out).v, 1, false, 0, 0, 0, 0)
}
