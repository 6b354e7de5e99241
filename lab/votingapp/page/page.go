// Package page holds what the voting page and the results page have in common: their look, their illustrations and the headers that keep a page safe.
//
// A page is one response: style, script and pictures are inlined, so that it is never half there when a container behind the load
// balancer goes away, and works without internet access. The Content-Security-Policy names the hashes of exactly these
// inlined parts and allows nothing else.
package page

import (
	"crypto/sha256"
	_ "embed" // for the files below
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
)

//go:embed base.css
var baseCSS string

//go:embed pictures.html
var pictures string

// Inlined are the parts of a page that are the same in every response.
type Inlined struct {
	Style  template.CSS
	Script template.JS
	policy []string
}

// Inline prepares a page with the common style followed by its own, and its script ("" for none).
func Inline(style, script string) Inlined {
	style = "\n" + baseCSS + style
	scripts := "'none'"
	if script != "" {
		script = "\n" + script
		scripts = hash(script)
	}
	return Inlined{
		Style:  template.CSS(style),
		Script: template.JS(script),
		policy: []string{strings.Join([]string{
			"default-src 'none'", "style-src " + hash(style), "script-src " + scripts, "img-src data:", "connect-src 'self'",
			"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
		}, "; ")},
	}
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Values of headers. All answers share these slices: who changed one, instead of setting another, would change it for all.
var (
	html       = []string{"text/html; charset=utf-8"}
	sameOrigin = []string{"same-origin"}
	noStore    = []string{"no-store"}
	noSniff    = []string{"nosniff"}
)

// Headers sets the headers of a page.
func (in Inlined) Headers(h http.Header) {
	h["Content-Type"] = html
	h["Content-Security-Policy"] = in.policy
	h["Cross-Origin-Opener-Policy"] = sameOrigin
	h["Referrer-Policy"] = sameOrigin
	Common(h)
}

// Common sets the headers that every response wants, page or not: it depends on who asks and when, and is what it says it is.
func Common(h http.Header) {
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
}

// Templates parses a page. It can use {{template "icon"}} in its head, and {{template "picture" NAME}} for an illustration of an option (see
// [Option]).
func Templates(name, text string) (*template.Template, error) {
	return template.Must(template.New("pictures").Parse(pictures)).New(name).Parse(text)
}

// Option is one of the two answers as a page shows it.
type Option struct {
	// Value is "a" or "b".
	Value string
	// Label is what people read, as Cats.
	Label string
}

// Picture names the illustration of an option: "cat", "dog", or "" for an option that has none and is shown by its initial.
func (o Option) Picture() string {
	switch strings.ToLower(o.Label) {
	case "cat", "cats":
		return "cat"
	case "dog", "dogs":
		return "dog"
	default:
		return ""
	}
}

// Initial is the first letter of the label.
func (o Option) Initial() string {
	for _, r := range o.Label {
		return strings.ToUpper(string(r))
	}
	return "?"
}
