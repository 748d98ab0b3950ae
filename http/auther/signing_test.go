package auther_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/auther"
	"mien/http/dialect/dialecttest"
)

// baseURL is what lines begin with: publicURL in lower case.
const baseURL = "https://faces.example"

// openssl runs the program that clients sign with.
func openssl(t testing.TB, stdin []byte, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("skipped: openssl is not installed, and signatures are held against it")
	}
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %v: %v\n%s%s", args, err, out, stderr.Bytes())
	}
	return out
}

// keyPair makes a pair as doc.go says, and returns the private key's file and the public key.
func keyPair(t testing.TB, bits int) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "client.key.pem")
	openssl(t, nil, "genpkey", "-algorithm", "RSA", "-pkeyopt", fmt.Sprint("rsa_keygen_bits:", bits), "-out", file)
	return file, string(openssl(t, nil, "pkey", "-in", file, "-pubout"))
}

// signature is openssl's of a line.
func signature(t testing.TB, file, line string) string {
	t.Helper()
	return base64.StdEncoding.EncodeToString(openssl(t, []byte(line), "dgst", "-sha256", "-sign", file))
}

// verifies reports whether openssl takes a signature for that of a line.
func verifies(t testing.TB, public, line, signature string) bool {
	t.Helper()
	dir := t.TempDir()
	sig, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"pub": public, "sig": string(sig)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "openssl", "dgst", "-sha256", "-verify", filepath.Join(dir, "pub"), "-signature", filepath.Join(dir, "sig"))
	cmd.Stdin = strings.NewReader(line)
	out, _ := cmd.CombinedOutput()
	return strings.HasPrefix(string(out), "Verified OK")
}

// signing is the answer of the native routes.
type signing struct {
	Key    string   `json:"key"`
	Keys   []string `json:"public_keys"`
	Input  string   `json:"sig_input"`
	Base   string   `json:"base_url"`
	Server string   `json:"server_public_key"`
}

// signingClient is a client whose requests must be signed.
type signingClient struct {
	*client
	id, file, server string
	last             int64 // ms
	hex              bool
}

// signer makes a client with the keys of a file.
func signer(t testing.TB, s *dialecttest.Server, input string, bits int) *signingClient {
	t.Helper()
	file, public := keyPair(t, bits)
	k, token, err := s.Engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleClient, Dialect: auther.Name, Galleries: []string{"people"}})
	if err != nil {
		t.Fatal(err)
	}
	got := setSigning(t, s, k.ID, map[string]any{"public_keys": []string{public}, "sig_input": input})
	return &signingClient{client: &client{s, token}, id: k.ID, file: file, server: got.Server, hex: input == "hexdigest"}
}

func setSigning(t testing.TB, s *dialecttest.Server, id string, body any) (got signing) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	a := s.Do("PUT", "/v1/auther/signing/"+id, data, "Authorization", "Bearer "+s.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin}))
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	a.Into(t, &got)
	return got
}

// now is a Timestamp that the client has not used.
func (c *signingClient) now() string {
	c.last = max(c.last+1, time.Now().UnixMilli())
	return strconv.FormatInt(c.last, 10)
}

// line is what is signed of it.
func (c *signingClient) line(t testing.TB, uri string, body []byte, at string) string {
	line := baseURL + uri + string(body) + at
	if c.hex {
		digest, _, _ := strings.Cut(string(openssl(t, []byte(line), "dgst", "-sha256", "-r")), " ")
		return digest
	}
	return line
}

// headers are those of a signed request.
func (c *signingClient) headers(t testing.TB, uri string, body []byte, at string) []string {
	t.Helper()
	return []string{"Timestamp", at, "Signature", signature(t, c.file, c.line(t, uri, body, at))}
}

// signed asks what must be answered with the status and code, by an answer that openssl verifies; one of 401 must not be signed.
func (c *signingClient) signed(t testing.TB, status int, code, method, uri string, body []byte, header ...string) dialecttest.Answer {
	t.Helper()
	if header == nil {
		header = c.headers(t, uri, body, c.now())
	}
	a := c.want(t, status, code, method, uri, body, header...)
	at := a.Header.Get("Timestamp")
	if status == 401 {
		if at != "" || a.Header.Get("Signature") != "" {
			t.Errorf("%s %s: a line was signed for who could not sign", method, uri)
		}
		return a
	}
	if len(at) != 13 || !verifies(t, c.server, c.line(t, uri, a.Body, at), a.Header.Get("Signature")) {
		t.Errorf("%s %s: the answer's signature is not good: %s", method, uri, at)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Timestamp" && len(header[i+1]) == 13 && header[i+1] != at && strings.Trim(header[i+1], "0123456789") == "" {
			t.Errorf("the answer's Timestamp is %s, the request's %s", at, header[i+1])
		}
	}
	return a
}

// TestSigning: requests that openssl signs are taken, answers that we sign openssl verifies.
func TestSigning(t *testing.T) {
	s := newServer(t, nil)
	for _, x := range []struct {
		input string
		bits  int
	}{{"raw", 2048}, {"hexdigest", 3072}} {
		c := signer(t, s, x.input, x.bits)
		id := "/person/face/" + x.input + "%20%C3%A9?x=1&y=%2f"
		photo := map[string]string{"raw": "a_1.jpg", "hexdigest": "b_1.jpg"}[x.input]
		c.signed(t, 200, "", "POST", id, append(face(extracttest.Photo(t, photo)), '\n'))
		c.signed(t, 200, "", "GET", id, nil)
		c.signed(t, 404, "NF_001", "GET", "/person/face/nobody", nil)
		c.signed(t, 400, "R_002", "POST", "/person/recognize-face", []byte("{"))
		c.signed(t, 200, "", "DELETE", id, nil)
		c.signed(t, 401, "M_401", "GET", id, nil, "Timestamp", c.now())
	}
}

// TestSigningRefused: what is not signed, or not now, or not for the first time, does nothing.
func TestSigningRefused(t *testing.T) {
	s := newServer(t, nil)
	c, other := signer(t, s, "raw", 2048), signer(t, s, "raw", 2048)
	get, body := "/person/face/ada", []byte(`{"faceImage": ""}`)
	(&client{s, s.Key(auther.Name, "people")}).enrol(t, "ada", "a_1.jpg")
	ago := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(-d).UnixMilli(), 10) }
	now := c.now()
	sig := signature(t, c.file, baseURL+get+now)
	for name, header := range map[string][]string{
		"no signature":         {"Timestamp", now},
		"no timestamp":         {"Signature", sig},
		"not base64":           {"Timestamp", now, "Signature", sig + "*"},
		"url-safe, unpadded":   {"Timestamp", now, "Signature", strings.TrimRight(sig, "=")},
		"seconds":              {"Timestamp", now[:10], "Signature", signature(t, c.file, baseURL+get+now[:10])},
		"signs":                {"Timestamp", "+" + now[1:], "Signature", signature(t, c.file, baseURL+get+"+"+now[1:])},
		"old":                  c.headers(t, get, nil, ago(5*time.Minute+time.Second)),
		"early":                c.headers(t, get, nil, ago(-5*time.Minute-10*time.Second)),
		"before we began":      c.headers(t, get, nil, ago(4*time.Minute)),
		"another's key":        {"Timestamp", now, "Signature", signature(t, other.file, baseURL+get+now)},
		"another uri":          c.headers(t, get+"?x", nil, now),
		"another base":         {"Timestamp", now, "Signature", signature(t, c.file, s.URL+get+now)},
		"another time":         {"Timestamp", c.now(), "Signature", sig},
		"a body that is not":   c.headers(t, get, body, now),
		"digest of the digest": {"Timestamp", now, "Signature", signature(t, c.file, (&signingClient{hex: true}).line(t, get, nil, now))},
	} {
		a := c.signed(t, 401, "M_401", "GET", get, nil, header...)
		if string(a.Body) != `{"code":"M_401","message":"Unauthorized"}`+"\n" || a.Header.Get("Date") == "" {
			t.Errorf("%s: %s, Date %q", name, a.Body, a.Header.Get("Date"))
		}
	}
	c.signed(t, 401, "M_401", "DELETE", get, []byte("1"), c.headers(t, get, []byte("1"), c.now())...) // bytes that could be the uri's
	c.signed(t, 200, "", "GET", get, nil, "Timestamp", now, "Signature", sig)
	c.signed(t, 401, "M_401", "GET", get, nil, "Timestamp", now, "Signature", sig)
	c.signed(t, 401, "M_401", "DELETE", get, nil, "Timestamp", now, "Signature", sig)
	for _, d := range []time.Duration{-4*time.Minute - 50*time.Second, -time.Minute} {
		header := c.headers(t, get, nil, ago(d))
		c.signed(t, 200, "", "GET", get, nil, header...)
		c.signed(t, 401, "M_401", "GET", get, nil, header...)
	}
	(&client{s, s.Key(auther.Name, "people")}).want(t, 200, "", "GET", get, nil) // who need not sign

	// The answer to a HEAD would be that of a DELETE; what was signed for a PUT deletes nobody.
	if a := s.Do("HEAD", get, nil, append(c.headers(t, get, nil, c.now()), "Api-Key", c.key)...); a.Status != 401 || a.Header.Get("Signature") != "" {
		t.Errorf("HEAD: %d %v", a.Status, a.Header)
	}
	c.signed(t, 400, "R_002", "DELETE", get, body)
	// Another API key with the same public key takes nothing that was sent under the first; of another gallery there is none.
	old, _ := os.ReadFile(c.file)
	public := string(openssl(t, old, "pkey", "-pubout"))
	twin := signer(t, s, "raw", 2048)
	setSigning(t, s, twin.id, map[string]any{"public_keys": []string{public}})
	header := c.headers(t, get, nil, c.now())
	c.signed(t, 200, "", "GET", get, nil, header...)
	twin.signed(t, 401, "M_401", "DELETE", get, nil, header...)
	s.Gallery("elsewhere", engine.GallerySpec{})
	k, _, err := s.Engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleClient, Dialect: auther.Name, Galleries: []string{"elsewhere"}})
	if err != nil {
		t.Fatal(err)
	}
	put, _ := json.Marshal(map[string]any{"public_keys": []string{public}})
	if a := s.Do("PUT", "/v1/auther/signing/"+k.ID, put, "Authorization", "Bearer "+s.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin})); a.Status != 400 {
		t.Errorf("one public key for two galleries: %d %s", a.Status, a.Body)
	}

	for _, reason := range []string{"Signature is missing", "not 13 digits", "five minutes", "older than this server", "not that of the request", "was made before"} {
		if !strings.Contains(s.Log.String(), reason) {
			t.Errorf("the log does not say that it %s", reason)
		}
	}

	// A character that should have been encoded, past a client that would encode it.
	uri := "/person/face/{"
	at := c.now()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nApi-Key: %s\r\nTimestamp: %s\r\nSignature: %s\r\n\r\n", uri, c.key, at, signature(t, c.file, baseURL+uri+at))
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	status := make([]byte, len("HTTP/1.1 401"))
	if _, err := conn.Read(status); err != nil || string(status) != "HTTP/1.1 401" {
		t.Errorf("%q %v", status, err)
	}
}

// TestSigningKeys: the native routes by which a key gets its keys, and what becomes of them.
func TestSigningKeys(t *testing.T) {
	s := newServer(t, nil)
	c := signer(t, s, "", 2048)
	admin := s.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin})
	native := func(status int, want, method, id, key string, body []byte) (got signing) {
		t.Helper()
		a := s.Do(method, "/v1/auther/signing/"+id, body, "Authorization", "Bearer "+key)
		if a.Status != status || !strings.Contains(string(a.Body), want) {
			t.Errorf("%s %.80s: %d %s, want %d %s", method, body, a.Status, a.Body, status, want)
		}
		if status == 200 {
			a.Into(t, &got)
		}
		return got
	}
	_, public := keyPair(t, 2048)
	put := func(keys ...string) []byte {
		body, _ := json.Marshal(map[string]any{"public_keys": keys})
		return body
	}
	if got := native(200, "", "GET", c.id, admin, nil); got.Input != "raw" || len(got.Keys) != 1 || got.Server != c.server || got.Base != baseURL || got.Key != c.id {
		t.Errorf("%+v", got)
	}
	_, small := keyPair(t, 1024)
	_, exponent := "", string(openssl(t, openssl(t, nil, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"), "pkey", "-pubout"))
	curve := string(openssl(t, openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "pkey", "-pubout"))
	for _, body := range [][]byte{put(), put(small), put(exponent), put(curve), put("x"), put(public + "x"), put(public, public, public, public, public),
		[]byte(`{"public_keys": ["x"], "sig_input": "both"}`)} {
		native(400, "bad_request", "PUT", c.id, admin, body)
	}
	for _, body := range []string{`{"public_keys": 1}`, `{"keys": []}`, `{} {}`, `x`} {
		native(400, "bad_json", "PUT", c.id, admin, []byte(body))
	}
	matcher := s.KeyOf("default", engine.KeySpec{Role: engine.RoleMatcher})
	native(403, "forbidden", "PUT", c.id, matcher, put(public))
	native(403, "forbidden", "GET", c.id, c.key, nil)
	native(403, "forbidden", "PUT", c.id, s.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin, Galleries: []string{"people"}}), put(public))
	native(404, "key_not_found", "GET", c.id, s.KeyOf("rivals", engine.KeySpec{Role: engine.RoleAdmin}), nil)
	native(404, "key_not_found", "PUT", "0000000000000000", admin, put(public))
	youverse, _, err := s.Engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleClient, Dialect: "youverse", Galleries: []string{"people"}})
	if err != nil {
		t.Fatal(err)
	}
	native(400, "bad_request", "PUT", youverse.ID, admin, put(public))

	// From one key to the next, with both for a while.
	file, next := keyPair(t, 2048)
	old, _ := os.ReadFile(c.file)
	first := string(openssl(t, old, "pkey", "-pubout"))
	native(200, "", "PUT", c.id, admin, put(first, next))
	c.signed(t, 404, "NF_001", "GET", "/person/face/x", nil)
	both := &signingClient{client: &client{s, c.key}, file: file, server: c.server}
	both.signed(t, 404, "NF_001", "GET", "/person/face/x", nil)
	native(200, "", "PUT", c.id, admin, put(next))
	c.signed(t, 401, "M_401", "GET", "/person/face/x", nil)

	// A key in this one's place must sign as well, and after it the one in its place, though it was never used.
	one, _, err := s.Engine.RotateKey(t.Context(), "default", c.id, engine.Rotation{})
	if err != nil {
		t.Fatal(err)
	}
	_, token, err := s.Engine.RotateKey(t.Context(), "default", one.ID, engine.Rotation{})
	if err != nil {
		t.Fatal(err)
	}
	both.key = token
	both.want(t, 401, "M_401", "GET", "/person/face/x", nil)
	both.signed(t, 404, "NF_001", "GET", "/person/face/x", nil)
	native(204, "", "DELETE", one.ID, admin, nil)
	both.signed(t, 404, "NF_001", "GET", "/person/face/x", nil) // it has its own by now
	if got := native(200, "", "GET", one.ID, admin, nil); len(got.Keys) != 0 {
		t.Errorf("%+v", got)
	}

	if a := s.Do("DELETE", "/v1/auther/signing/"+c.id, nil, "Authorization", "Bearer "+admin); a.Status != 204 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	c.want(t, 404, "NF_001", "GET", "/person/face/x", nil)
	if strings.Contains(s.Log.String(), "PUBLIC KEY") {
		t.Error("the log has keys")
	}
}

// TestSigningRestart: what was signed before a server began is refused by it, and its keys are those of before.
func TestSigningRestart(t *testing.T) {
	outer, dir := t, t.TempDir()
	open := func(t *testing.T) *dialecttest.Server {
		return dialecttest.New(t, func(c *http.Config, e *engine.Config) {
			c.PublicURL, e.Dir = publicURL, dir
		})
	}
	var c *signingClient
	var used, unused []string
	get := "/person/face/x"
	t.Run("before", func(t *testing.T) {
		s := open(t)
		c = signer(outer, s, "raw", 2048)
		used, unused = c.headers(t, get, nil, c.now()), c.headers(t, get, nil, c.now())
		c.signed(t, 404, "NF_001", "GET", get, nil, used...)
	})
	time.Sleep(5 * time.Millisecond)
	t.Run("after", func(t *testing.T) {
		c.Server = open(t)
		c.signed(t, 401, "M_401", "GET", get, nil, used...)
		c.signed(t, 401, "M_401", "GET", get, nil, unused...)
		c.signed(t, 404, "NF_001", "GET", get, nil)
	})
}

// TestSigningNeedsURL: without a public URL there is nothing that lines could begin with.
func TestSigningNeedsURL(t *testing.T) {
	s := dialecttest.New(t, nil)
	k, _, err := s.Engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleClient, Dialect: auther.Name, Galleries: []string{"people"}})
	if err != nil {
		t.Fatal(err)
	}
	_, public := keyPair(t, 2048)
	body, _ := json.Marshal(map[string]any{"public_keys": []string{public}})
	a := s.Do("PUT", "/v1/auther/signing/"+k.ID, body, "Authorization", "Bearer "+s.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin}))
	if a.Status != 409 || !strings.Contains(string(a.Body), `"public_url_unset"`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
