package extract

// picture is a decoded photo, upright. All that the models see of it goes through overview and warp, so that a large
// photo need not exist in full.
type picture struct {
	W, H  int // of the upright photo in full
	whole *Image
}

func newPicture(m *Image) *picture { return &picture{W: m.W, H: m.H, whole: m} }

// overview is the whole photo, in full or reduced, but never to less than twice the detector's canvas. The caller must
// not change it.
func (p *picture) overview() *Image { return p.whole }

// warp draws the photo through m, which maps its full-size pixels to dst's (see the function warp).
//
// REQUIRES: m.regular().
func (p *picture) warp(dst *Image, m affine) { warp(dst, p.whole, m) }
