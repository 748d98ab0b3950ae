package auther

import "mien/engine"

// Gate is what photos that people are enrolled with must reach, whatever the gallery's own gate; both count. The document names the
// criteria ("Image verification criteria") and gives no numbers: these are where the reason is plain to see.
var Gate = engine.Gate{
	"inter_eye_distance": 30, // F_011: some 30 pixels between the eyes
	"head_size":          50, // F_011: a head of less than an eighth of the photo's height, or of nearly all of it

	"head_pose_yaw":   82, // F_010: 25°, the measure is 100·cos²
	"head_pose_pitch": 82, // F_009
	"head_pose_roll":  82, // F_008

	"luminance_mean":            50, // F_006
	"under_exposure_prevention": 50,
	"over_exposure_prevention":  50,
	"illumination_uniformity":   50,

	"sharpness":    50, // F_007
	"eyes_visible": 50, // F_005
	"eyes_open":    30, // F_003: small open eyes have 40 and more
	"mouth_closed": 50, // F_004: a smile that shows teeth has 80 and more
}
