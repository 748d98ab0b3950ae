package facephi

import (
	"crypto/rand"
	"fmt"

	"mien/http/dialect"
)

// answer is the body of every answer; its fields are in the order of the document's example.
type answer struct {
	Reference      string  `json:"merchantReferenceId"`
	Code           int     `json:"serviceResultCode"`
	Log            string  `json:"serviceResultLog"`
	Similarity     float64 `json:"serviceFacialSimilarityResult"`
	FacialLog      string  `json:"serviceFacialAuthenticationLog"`
	FacialResult   int     `json:"serviceFacialAuthenticationResult"`
	LivenessLog    string  `json:"serviceLivenessLog"`
	LivenessResult int     `json:"serviceLivenessResult"`
	Timestamp      string  `json:"timestamp"`
	TransactionID  string  `json:"transactionId"`
	Registered     string  `json:"registeredTemplateRaw,omitempty"`
}

// newAnswer is one of which nothing is known yet.
func newAnswer(c *dialect.Call) *answer {
	reference, _ := c.State.(string)
	a := &answer{Reference: reference, Timestamp: c.Engine().Now().UTC().Format("2006-01-02T15:04:05.000Z"), TransactionID: newTransactionID()}
	a.setFacial(facialNone, "")
	a.setLiveness(livenessNone, "")
	return a
}

// newTransactionID is a UUID of version 4 (RFC 9562, 5.4).
func newTransactionID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Table 1, Service Result Code.
const (
	resultAuthenticated = 0
	resultOtherUser     = -100
	resultNotLive       = -101
	resultNoMatch       = -102
)

// setResult sets the code and the description that the document has for it.
func (a *answer) setResult(code int, user string) {
	a.Code = code
	switch code {
	case resultAuthenticated:
		a.Log = "User authenticated successfully."
	case resultOtherUser:
		a.Log = "The registeredTemplateRaw parameter does not match the ID: [" + user + "]"
	case resultNotLive:
		a.Log = "The bestImageToken parameter does not match a living person."
	case resultNoMatch:
		a.Log = "User authentication failed due to non-matching templateRaw."
	}
}

// Table 2, Service Facial Authentication Result.
const (
	facialNone       = 0
	facialNegative   = 1
	facialPositive   = 3
	facialNoTemplate = 4
)

var facialNames = map[int]string{facialNone: "None", facialNegative: "Negative", facialPositive: "Positive", facialNoTemplate: "NoTemplate"}

// Table 3, Service Liveness Result.
const (
	livenessNone         = 0
	livenessSpoof        = 1
	livenessUncertain    = 2
	livenessLive         = 3
	livenessBadQuality   = 4
	livenessFaceNotFound = 5
	livenessFaceTooSmall = 6
	livenessSeveralFaces = 7
	livenessUnreadable   = 8
)

var livenessNames = map[int]string{livenessNone: "None", livenessSpoof: "Spoof", livenessUncertain: "Uncertain", livenessLive: "Live",
	livenessBadQuality: "BadQuality", livenessFaceNotFound: "FaceNotFound", livenessFaceTooSmall: "FaceTooSmall",
	livenessSeveralFaces: "SeveralFaces", livenessUnreadable: "ImageUnreadable"}

// setFacial sets the result of the comparison, and its name in the log with what there is to say about it.
func (a *answer) setFacial(result int, detail string) {
	a.FacialResult, a.FacialLog = result, named(facialNames[result], detail)
}

// setLiveness is setFacial of the liveness.
func (a *answer) setLiveness(result int, detail string) {
	a.LivenessResult, a.LivenessLog = result, named(livenessNames[result], detail)
}

func named(name, detail string) string {
	if detail == "" {
		return name
	}
	return name + ": " + detail
}
