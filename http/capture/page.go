package capture

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"path"
	"strings"

	"mien/http/dialect"
)

// files are the page: static, and one for everybody.
//
//go:embed page
var files embed.FS

// asset is a file of the page as it is served.
type asset struct {
	data []byte
	kind string
	etag string
}

// contentTypes are by the end of a file's name. What has none of these is not served.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".json": "application/json",
	".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".webmanifest": "application/manifest+json", ".woff2": "font/woff2",
}

// pageName is the file that /capture/ is.
const pageName = "page.html"

// pageRoutes are those of the page's files.
func pageRoutes() []dialect.Route {
	routes := []dialect.Route{{Method: "GET", Pattern: "/capture", Op: opPage, Public: true, Handle: toPage}}
	err := fs.WalkDir(files, "page", func(name string, d fs.DirEntry, err error) error {
		kind := contentTypes[path.Ext(name)]
		if err != nil || d.IsDir() || kind == "" {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		pattern := strings.TrimPrefix(name, "page")
		if pattern == "/"+pageName {
			pattern = "/"
		}
		sum := sha256.Sum256(data)
		a := &asset{data, kind, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
		routes = append(routes, dialect.Route{Method: "GET", Pattern: "/capture" + pattern, Op: opPage, Public: true, Handle: a.serve})
		return nil
	})
	if err != nil {
		panic("BUG: the embedded page does not read: " + err.Error())
	}
	return routes
}

// serve answers the file, or 304 to who has it already. The page itself, whose address has the link's token, is kept by nobody.
func (f *asset) serve(c *dialect.Call) (dialect.Answer, error) {
	a := dialect.Answer{Status: 200, Raw: f.data, ContentType: f.kind}
	if strings.HasPrefix(f.kind, "text/html") {
		return a, nil
	}
	a.Set("ETag", f.etag)
	a.Set("Cache-Control", "no-cache") // asked for again each time, and seldom sent again
	if strings.Contains(c.Header("If-None-Match"), f.etag) {
		a.Status, a.Raw, a.ContentType = 304, nil, ""
	}
	return a, nil
}

// toPage sends who left out the slash to the page.
func toPage(c *dialect.Call) (dialect.Answer, error) {
	where := "/capture/"
	if _, query, found := strings.Cut(c.Target, "?"); found {
		where += "?" + query
	}
	a := dialect.Answer{Status: 308}
	a.Set("Location", where)
	return a, nil
}

// headers are those of all that is below /capture: nothing of other origins is loaded, asked or embeds the page, and of all that a browser can
// do it may use the camera.
var headers = []dialect.Field{
	{Name: "Content-Security-Policy", Value: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; " +
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
	{Name: "Permissions-Policy", Value: "camera=(self), microphone=(), geolocation=(), accelerometer=(), gyroscope=(), magnetometer=(), display-capture=(), " +
		"payment=(), usb=(), serial=(), midi=(), hid=(), idle-detection=(), publickey-credentials-get=()"},
	{Name: "Referrer-Policy", Value: "no-referrer"},
	{Name: "Cross-Origin-Opener-Policy", Value: "same-origin"},
	{Name: "Cross-Origin-Resource-Policy", Value: "same-origin"},
}

// finishAnswer completes an answer of the page's.
func finishAnswer(_ *dialect.Call, a *dialect.Answer) error {
	a.Header = append(a.Header, headers...)
	return nil
}
