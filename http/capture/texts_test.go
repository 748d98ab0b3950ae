package capture

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPageTexts holds the page's words together: every language has every text with the same placeholders, every text is used,
// and every one that a file uses is there.
func TestPageTexts(t *testing.T) {
	texts := readTexts(t)
	english := texts["en"]
	used := usedTexts(t, english)
	for language, words := range texts {
		for key, line := range words {
			if _, ok := english[key]; !ok {
				t.Errorf("%s: %s is not in English", language, key)
			}
			if strings.TrimSpace(line) == "" || line != strings.TrimSpace(line) {
				t.Errorf("%s: %s is %q", language, key, line)
			}
			if got, want := placeholders(line), placeholders(english[key]); !slices.Equal(got, want) {
				t.Errorf("%s: %s has placeholders %q, in English %q", language, key, got, want)
			}
		}
		for _, key := range used {
			if _, ok := words[key]; !ok {
				t.Errorf("%s: %s is used and not there", language, key)
			}
		}
		for key := range words {
			if !slices.Contains(used, key) {
				t.Errorf("%s: %s is not used", language, key)
			}
		}
	}
}

// TestPageLanguages has the three languages, each known by its own name, so that a file that is lost is not taken for one that agrees.
func TestPageLanguages(t *testing.T) {
	texts := readTexts(t)
	want := map[string]string{"en": "English", "pt": "Português", "es": "Español"}
	got := map[string]string{}
	for language, words := range texts {
		got[language] = words["language.own"]
	}
	if !maps.Equal(got, want) {
		t.Errorf("languages %v, want %v", got, want)
	}
}

// TestPageAsksNobodyElse lets no file refer to another host, nor hold what the policy of the page forbids: script and style
// inside the markup, and code made from text.
func TestPageAsksNobodyElse(t *testing.T) {
	forbidden := map[string][]*regexp.Regexp{
		"": {
			regexp.MustCompile(`(?i)(https?|wss?|ftp):\\?/\\?/[^"'\s]*`), // an address anywhere
			regexp.MustCompile(`["'(=]\s*//\w`),                          // one without its scheme
		},
		".html": {
			regexp.MustCompile(`(?i)\sstyle\s*=`), regexp.MustCompile(`(?i)<style`), regexp.MustCompile(`(?i)\son\w+\s*=`),
			regexp.MustCompile(`(?i)<script[^>]*>[^<]`), regexp.MustCompile(`(?i)javascript:`),
		},
		".js": {
			regexp.MustCompile(`\beval\(`), regexp.MustCompile(`\bnew Function\b`), regexp.MustCompile(`\b(inner|outer)HTML\b`),
			regexp.MustCompile(`insertAdjacentHTML|document\.write`), regexp.MustCompile(`setAttribute\("style"`),
			regexp.MustCompile(`\b(localStorage|indexedDB|console)\b`),
		},
		".css": {regexp.MustCompile(`(?i)@import|url\(`)},
	}
	for name, data := range pageFiles(t) {
		data = strings.ReplaceAll(data, `xmlns="http://www.w3.org/2000/svg"`, "") // a name, never fetched
		for _, kind := range []string{"", filepath.Ext(name)} {
			for _, expression := range forbidden[kind] {
				if found := expression.FindString(data); found != "" {
					t.Errorf("%s has %q", name, found)
				}
			}
		}
	}
}

// TestPageNames lets the page refer only to files and elements that are there.
func TestPageNames(t *testing.T) {
	files := pageFiles(t)
	html := files["page.html"]
	for name, data := range files {
		for _, m := range regexp.MustCompile(`(?:src=|href=|from |fetch\()"(?:\./)?([\w-]+\.\w+)"`).FindAllStringSubmatch(data, -1) {
			if _, ok := files[m[1]]; !ok {
				t.Errorf("%s refers to %s, which is not there", name, m[1])
			}
		}
	}
	ids := regexp.MustCompile(`\sid="([\w-]+)"`).FindAllStringSubmatch(html, -1)
	seen := map[string]bool{}
	for _, m := range ids {
		if seen[m[1]] {
			t.Errorf("id %s is there twice", m[1])
		}
		seen[m[1]] = true
	}
	refer := regexp.MustCompile(`(?:href="#|\$\("|\bshow\("|heading\("|aria-describedby="|aria-labelledby="|getElementById\(")([\w-]+)"`)
	for name, data := range files {
		for _, m := range refer.FindAllStringSubmatch(data, -1) {
			if !seen[m[1]] {
				t.Errorf("%s refers to element %s, which is not there", name, m[1])
			}
		}
	}
	for _, m := range regexp.MustCompile(`icon: "([a-z]+)"`).FindAllStringSubmatch(files["app.js"], -1) {
		if !seen["i-"+m[1]] {
			t.Errorf("app.js shows icon %s, which is not there", m[1])
		}
	}
}

func readTexts(t *testing.T) map[string]map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("page", "texts.json"))
	if err != nil {
		t.Fatal(err)
	}
	var texts map[string]map[string]string
	if err := json.Unmarshal(data, &texts); err != nil {
		t.Fatal(err)
	}
	return texts
}

// usedTexts gives the keys that the scripts and the markup name: every quoted word of theirs that begins like one of the texts.
func usedTexts(t *testing.T, english map[string]string) []string {
	t.Helper()
	groups := map[string]bool{}
	for key := range english {
		groups[strings.SplitN(key, ".", 2)[0]] = true
	}
	quoted := regexp.MustCompile(`"([a-z]+)\.([a-z_]+)"`)
	used := map[string]bool{}
	for name, data := range pageFiles(t) {
		if ext := filepath.Ext(name); ext != ".js" && ext != ".html" {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(data, -1) {
			if key := m[1] + "." + m[2]; groups[m[1]] && !isFile(key) {
				used[key] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(used))
}

func isFile(name string) bool {
	_, err := os.Stat(filepath.Join("page", name))
	return err == nil
}

// placeholders gives the names in braces, sorted.
func placeholders(line string) []string {
	names := regexp.MustCompile(`\{\w*\}?`).FindAllString(line, -1)
	slices.Sort(names)
	return names
}

// pageFiles gives the files of the page by name.
func pageFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS("page"), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join("page", name))
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files["page.html"] == "" || files["app.js"] == "" || files["app.css"] == "" {
		t.Fatal("the page's files are not there")
	}
	return files
}
