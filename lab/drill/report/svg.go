package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"image/color"
	"io"
	"strings"
)

// ink is a colour of the plots by its meaning. A plot is drawn with the stand-ins of [ink.RGBA]; in the page they become the style
// sheet's variables, which know a light and a dark scheme.
type ink string

// The inks of what is not a series; series have inkOf.
const (
	inkText  ink = "text"
	inkQuiet ink = "quiet"
	inkGrid  ink = "grid"
	inkAxis  ink = "axis"
	// inkShade lies below everything else while a fault is in force.
	inkShade ink = "shade"
	inkMark  ink = "mark"
)

// seriesInks is how many colours series have before they begin anew, with other dashes.
const seriesInks = 4

func inkOf(series int) ink { return ink(fmt.Sprintf("s%d", series%seriesInks+1)) }

func inks() []ink {
	all := []ink{inkText, inkQuiet, inkGrid, inkAxis, inkShade, inkMark}
	for i := range seriesInks {
		all = append(all, inkOf(i))
	}
	return all
}

// RGBA implements color.Color: a stand-in, another one for each ink.
func (i ink) RGBA() (r, g, b, a uint32) {
	for n, other := range inks() {
		if other == i {
			return color.NRGBA{R: 0xf0, G: 0x0f, B: uint8(n + 1), A: 0xff}.RGBA() //nolint:gosec // there are ten
		}
	}
	return color.Black.RGBA()
}

func (i ink) standIn() string {
	r, g, b, _ := i.RGBA()
	return fmt.Sprintf("#%02X%02X%02X", r>>8, g>>8, b>>8)
}

// variable is the style sheet's name for a stand-in.
func variable(standIn string) string {
	for _, i := range inks() {
		if i.standIn() == standIn {
			return "var(--" + string(i) + ")"
		}
	}
	return standIn
}

// inline makes an SVG file part of a page: its size is left to the page, style attributes, which the page's policy forbids, become
// presentation attributes, stand-ins become colours, and everything is escaped anew. label tells what is to be seen.
func inline(file []byte, class, label string) (template.HTML, error) {
	var out strings.Builder
	d := xml.NewDecoder(bytes.NewReader(file))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return template.HTML(out.String()), nil //nolint:gosec // written below, and escaped
		}
		if err != nil {
			return "", fmt.Errorf("read a plot: %w", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			out.WriteString("<" + token.Name.Local)
			if token.Name.Local == "svg" {
				for _, a := range [][2]string{{"class", class}, {"role", "img"}, {"aria-label", label}} {
					attribute(&out, a[0], a[1])
				}
			}
			for _, a := range token.Attr {
				attributes(&out, token.Name.Local, a)
			}
			if token.Name.Local == "text" {
				if err := letter(&out, d); err != nil {
					return "", err
				}
				continue
			}
			out.WriteString(">")
		case xml.EndElement:
			out.WriteString("</" + token.Name.Local + ">")
		case xml.CharData:
			if text := strings.TrimSpace(string(token)); text != "" {
				escape(&out, text)
			}
		}
	}
}

// letter ends the start of a text, and writes it. Its width is the one that its place was found with: the reader's fonts may be wider than
// ours, and names would lie upon each other.
func letter(out *strings.Builder, d *xml.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return fmt.Errorf("read a plot: %w", err)
	}
	data, ok := token.(xml.CharData)
	if !ok { // nothing is said
		out.WriteString("></text>")
		return nil
	}
	said := strings.TrimSpace(string(data))
	attribute(out, "textLength", fmt.Sprintf("%.1f", style(inkText).Width(said).Points()))
	attribute(out, "lengthAdjust", "spacingAndGlyphs")
	out.WriteString(">")
	escape(out, said)
	return nil
}

func attributes(out *strings.Builder, element string, a xml.Attr) {
	name := a.Name.Local
	switch {
	case a.Name.Space != "" || name == "xmlns" || element == "svg" && name != "viewBox":
	case name != "style":
		attribute(out, name, a.Value)
	default:
		for _, rule := range strings.Split(a.Value, ";") {
			key, value, _ := strings.Cut(rule, ":")
			switch key {
			case "font-family", "font-variant", "font-style", "font-weight": // The style sheet's.
			case "fill", "stroke":
				attribute(out, key, variable(value))
			default:
				attribute(out, key, value)
			}
		}
	}
}

func attribute(out *strings.Builder, name, value string) {
	out.WriteString(" " + name + `="`)
	escape(out, value)
	out.WriteString(`"`)
}

func escape(out *strings.Builder, text string) {
	_ = xml.EscapeText(out, []byte(text)) // A Builder takes everything.
}
