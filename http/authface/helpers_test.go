package authface_test

import (
	"encoding/base64"
	"fmt"

	"mien/extract/extracttest"
	"mien/http/dialect/dialecttest"
)

// enrolIn enrols somebody by a photo through Youverse's API.
func enrolIn(s *dialecttest.Server, key, user, photo string) {
	s.T.Helper()
	body := fmt.Sprintf(`{"user_id":%q,"user_photo":%q,"create_if_new":true}`, user, base64.StdEncoding.EncodeToString(extracttest.Photo(s.T, photo)))
	if a := s.Do("POST", "/user_verification", []byte(body), "x-api-key", key); a.Status != 200 {
		s.T.Fatalf("%d %s", a.Status, a.Body)
	}
}
