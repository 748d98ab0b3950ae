package simd

// A run for each family of kernels.
//go:generate sh -c "cd ../asm && go run . -family f32 -out ../simd/f32_amd64.s -stubs ../simd/f32_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family addrows -out ../simd/addrows_amd64.s -stubs ../simd/addrows_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family int8 -out ../simd/int8_amd64.s -stubs ../simd/int8_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family int16 -out ../simd/int16_amd64.s -stubs ../simd/int16_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family gather -out ../simd/gather_amd64.s -stubs ../simd/gather_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family sketch -out ../simd/sketch_amd64.s -stubs ../simd/sketch_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family nibbles -out ../simd/nibbles_amd64.s -stubs ../simd/nibbles_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family hadamard -out ../simd/hadamard_amd64.s -stubs ../simd/hadamard_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family prepare -out ../simd/prepare_amd64.s -stubs ../simd/prepare_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family resample -out ../simd/resample_amd64.s -stubs ../simd/resample_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family colour -out ../simd/colour_amd64.s -stubs ../simd/colour_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family idct -out ../simd/idct_amd64.s -stubs ../simd/idct_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family blur -out ../simd/blur_amd64.s -stubs ../simd/blur_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family bilinear -out ../simd/bilinear_amd64.s -stubs ../simd/bilinear_stubs_amd64.go -pkg simd"
//go:generate sh -c "cd ../asm && go run . -family sum -out ../simd/sum_amd64.s -stubs ../simd/sum_stubs_amd64.go -pkg simd"
