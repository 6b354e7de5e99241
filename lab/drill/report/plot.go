package report

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"unicode"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
)

// chart is a plot to be drawn.
type chart struct {
	id, title, unit string
	// about says what is drawn, words what is to be seen in it.
	about, words string
	series       []series
	// log has the axis of values grow by factors.
	log bool
	// label writes a value at the axis.
	label func(float64) string
}

// frame is what the charts of a run have in common: the time that they show, and what happened then.
type frame struct {
	// end of the time in seconds, more than 0; it begins at 0.
	end    float64
	faults []stretch
	phases []stretch
	marks  []moment
}

// stretch of time, in seconds.
type stretch struct {
	name     string
	from, to float64
}

type moment struct {
	name string
	at   float64
}

func newFrame(j *journal.Journal) frame {
	f := frame{end: seconds(j.LengthMS)}
	reach := func(ms int64) float64 {
		f.end = max(f.end, seconds(ms))
		return seconds(ms)
	}
	for _, s := range j.Samples {
		reach(s.AtMS)
	}
	for _, m := range j.Annotations[:min(len(j.Annotations), maxMarks)] {
		f.marks = append(f.marks, moment{drawable(m.Name), reach(m.AtMS)})
	}
	for _, x := range j.Faults {
		reach(max(x.InjectedMS, x.EndedMS, x.HealedMS))
	}
	for _, p := range j.Phases {
		reach(max(p.BegunMS, p.EndedMS))
	}
	f.end = max(f.end, 1)
	// What has not ended goes on to the end.
	until := func(ms int64) float64 {
		if ms == 0 {
			return f.end
		}
		return seconds(ms)
	}
	for _, x := range j.Faults[:min(len(j.Faults), maxMarks)] {
		f.faults = append(f.faults, stretch{x.What, seconds(x.InjectedMS), until(x.HealedMS)})
	}
	for _, p := range j.Phases {
		f.phases = append(f.phases, stretch{drawable(p.Name), seconds(p.BegunMS), until(p.EndedMS)})
	}
	slices.SortStableFunc(f.marks, func(a, b moment) int { return int(math.Copysign(1, a.at-b.at)) })
	return f
}

// maxName is how much of a name is drawn.
const maxName = 28

// drawable is what a drawing can hold of a name: one line of characters that XML has.
func drawable(name string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, name))
	if len(runes) > maxName {
		runes = append(runes[:maxName-1], '…')
	}
	return string(runes)
}

// size of a drawing in units of its own, in which letters are 12 high: it grows with the page.
type size struct {
	class         string
	width, height vg.Length
	// ticks on the axis of time at most.
	ticks float64
}

// A page shows one of the two, by its width.
func sizes() []size {
	return []size{{class: "plot wide", width: 900, height: 220, ticks: 13}, {class: "plot narrow", width: 380, height: 190, ticks: 7}}
}

const (
	letters = 12 // high
	// maxSpread is how many times its lowest value an axis reaches; what is below is drawn at its foot.
	maxSpread = 1e6
	maxMarks  = 60 // and as many faults are drawn
	row       = 16 // of the head of a drawing
	maxRows   = 4  // of marks
	air       = 4  // beside a name, and above and below names
)

func style(i ink) text.Style {
	return text.Style{
		Color: i, Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, letters), Handler: plot.DefaultTextHandler,
		XAlign: draw.XLeft, YAlign: draw.YBottom,
	}
}

// draw makes a drawing of a chart. All charts of a page are given the same room for the labels of values, so that their times are in line.
func (f frame) draw(c chart, s size, room vg.Length) (template.HTML, error) {
	p := f.plot(c, s)
	left := room - labelsWidth(p)
	blank := draw.Canvas{Rectangle: vg.Rectangle{Max: vg.Point{X: s.width, Y: s.height}}}
	labels, rows := f.labels(p.DataCanvas(draw.Crop(blank, left, 0, 0, 0)))
	head := vg.Length(rows*row + air)
	if len(f.phases) > 0 {
		head += row + air
	}

	canvas := vgsvg.NewWith(vgsvg.UseWH(s.width, s.height+head))
	whole := draw.New(canvas)
	below := draw.Crop(whole, left, 0, 0, -head)
	data := p.DataCanvas(below)
	p.Add(ground{frame: f, plot: p})
	for i, series := range c.series {
		p.Add(curve{series: series, ink: inkOf(i), dashes: dashesOf(i), least: p.Y.Min})
	}
	p.Draw(below)
	f.head(draw.Canvas{Canvas: whole.Canvas, Rectangle: vg.Rectangle{
		Min: vg.Point{X: data.Min.X, Y: data.Max.Y}, Max: vg.Point{X: data.Max.X, Y: whole.Max.Y},
	}}, labels)

	var file bytes.Buffer
	if _, err := canvas.WriteTo(&file); err != nil {
		return "", fmt.Errorf("draw %s: %w", c.title, err)
	}
	return inline(file.Bytes(), s.class, c.title+". "+c.words)
}

// plot has the axes of a chart, and nothing in them.
func (f frame) plot(c chart, s size) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max = 0, f.end
	p.X.Padding = 0
	p.X.Tick.Marker = plot.ConstantTicks(timeTicks(f.end, s.ticks))
	p.X.Label.Text = "seconds since the run began"
	p.X.Label.Padding = 4
	p.X.LineStyle = draw.LineStyle{Color: inkAxis, Width: 1}
	p.X.Tick.LineStyle = p.X.LineStyle
	p.X.Tick.Length = 4
	low, high := limits(c)
	p.Y.Min, p.Y.Max = low, high
	p.Y.Tick.Marker = plot.ConstantTicks(valueTicks(low, high, c))
	if c.log {
		p.Y.Scale = plot.LogScale{}
	}
	p.Y.Padding = 2
	p.Y.Width = 0
	p.Y.Tick.Length = 0
	for _, label := range []*text.Style{&p.X.Tick.Label, &p.Y.Tick.Label, &p.X.Label.TextStyle} {
		label.Color, label.Font = inkQuiet, style(inkQuiet).Font
	}
	return p
}

func labelsWidth(p *plot.Plot) vg.Length {
	var widest vg.Length
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		widest = max(widest, p.Y.Tick.Label.Width(t.Label))
	}
	return widest
}

// limits of the axis of values: from 0, or, where it grows by factors, from a power of ten.
func limits(c chart) (low, high float64) {
	low, high = math.Inf(1), 0
	for _, s := range c.series {
		for _, p := range s.points() {
			high = max(high, p.value)
			if p.value > 0 {
				low = min(low, p.value)
			}
		}
	}
	if !c.log {
		return 0, max(high*1.05, 1)
	}
	low = max(low, high/maxSpread)
	return min(math.Pow(10, math.Floor(math.Log10(low))), high/10), high * 1.2
}

// spread is how many times the highest value of the series is the lowest that is not 0.
func spread(all []series) float64 {
	low, high := math.Inf(1), 0.0
	for _, s := range all {
		for _, p := range s.points() {
			if p.value > 0 {
				low, high = min(low, p.value), max(high, p.value)
			}
		}
	}
	return high / low
}

// round is the least of 1, 2 and 5, times a power of ten, that is not less than a value.
func round(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= v*0.999 {
			return f * power
		}
	}
	return 10 * power
}

func valueTicks(low, high float64, c chart) []plot.Tick {
	var ticks []plot.Tick
	add := func(v float64) {
		if v >= low*0.999 && v <= high {
			ticks = append(ticks, plot.Tick{Value: v, Label: c.label(v)})
		}
	}
	if !c.log {
		each := max(round(high/5), 1)
		for i := range int(high/each) + 1 {
			add(float64(i) * each)
		}
		return ticks
	}
	between := []float64{1, 2, 5}
	if high/low > 1000 {
		between = between[:1]
	}
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for _, f := range between {
			add(f * power)
		}
	}
	return ticks
}

// timeTicks are at round numbers of seconds, and of minutes where these are many.
func timeTicks(end, most float64) []plot.Tick {
	each := 0.0
	for _, s := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200} {
		if each = s; end/s < most {
			break
		}
	}
	for end/each >= most {
		each *= 2
	}
	var ticks []plot.Tick
	for i := range int(end/each) + 1 {
		v := float64(i) * each
		ticks = append(ticks, plot.Tick{Value: v, Label: number(v)})
	}
	return ticks
}

// dashesOf tell lines apart without their colour.
func dashesOf(series int) []vg.Length {
	switch series % 5 {
	case 1:
		return []vg.Length{7, 4}
	case 2:
		return []vg.Length{2, 3}
	case 3:
		return []vg.Length{10, 3, 2, 3}
	case 4:
		return []vg.Length{4, 2}
	default:
		return nil
	}
}

func dashArray(series int) string {
	var text []string
	for _, d := range dashesOf(series) {
		text = append(text, fmt.Sprint(float64(d)))
	}
	return strings.Join(text, " ")
}

// ground is what lies below the lines: faults, phases, the grid, marks.
type ground struct {
	frame frame
	plot  *plot.Plot
}

// Plot implements plot.Plotter.
func (g ground) Plot(c draw.Canvas, p *plot.Plot) {
	x := func(v float64) vg.Length { return c.X(p.X.Norm(min(max(v, 0), p.X.Max))) }
	for _, f := range g.frame.faults {
		// One that was over at once is seen as well.
		from, to := x(f.from), max(x(f.to), x(f.from)+1.5)
		c.FillPolygon(inkShade, []vg.Point{{X: from, Y: c.Min.Y}, {X: to, Y: c.Min.Y}, {X: to, Y: c.Max.Y}, {X: from, Y: c.Max.Y}})
	}
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		y := c.Y(p.Y.Norm(t.Value))
		c.StrokeLine2(draw.LineStyle{Color: inkGrid, Width: 1}, c.Min.X, y, c.Max.X, y)
	}
	for i, f := range g.frame.phases {
		if i > 0 {
			c.StrokeLine2(draw.LineStyle{Color: inkAxis, Width: 1, Dashes: []vg.Length{1, 3}}, x(f.from), c.Min.Y, x(f.from), c.Max.Y)
		}
	}
	for _, m := range g.frame.marks {
		c.StrokeLine2(draw.LineStyle{Color: inkMark, Width: 1}, x(m.at), c.Min.Y, x(m.at), c.Max.Y)
	}
}

// curve is a line with gaps.
type curve struct {
	series series
	ink    ink
	dashes []vg.Length
	// least is where the axis begins; what is below is drawn there.
	least float64
}

// Plot implements plot.Plotter.
func (l curve) Plot(c draw.Canvas, p *plot.Plot) {
	for _, part := range l.series.thinned() {
		points := make([]vg.Point, len(part))
		for i, v := range part {
			points[i] = vg.Point{X: c.X(p.X.Norm(v.at)), Y: c.Y(p.Y.Norm(max(v.value, l.least)))}
		}
		if len(points) == 1 { // A line of one point is nothing to see.
			c.DrawGlyphNoClip(draw.GlyphStyle{Color: l.ink, Radius: 2, Shape: draw.CircleGlyph{}}, points[0])
			continue
		}
		c.StrokeLines(draw.LineStyle{Color: l.ink, Width: 2, Dashes: l.dashes}, points)
	}
}

// label is a mark's name in the head of a drawing.
type label struct {
	moment
	// row from the top; -1: there is no room for the name.
	row  int
	text vg.Length // where it begins
}

// labels finds a place for the name of each mark, to the right of its line, so that no name lies upon another and no line crosses one: a
// name is in the first row that is free, with all rows below it, which its line has to pass.
func (f frame) labels(data draw.Canvas) (all []label, rows int) {
	letters := style(inkText)
	var free [maxRows]vg.Length
	for _, m := range f.marks {
		x := data.X(m.at / f.end)
		l := label{moment: m, row: -1, text: x + air}
		width := letters.Width(m.name)
		if l.text+width > data.Max.X { // It ends at the right edge then, left of its own line or across it.
			l.text = data.Max.X - width
		}
		for r := maxRows - 1; r >= 0 && max(free[r], 0) <= min(x, l.text); r-- {
			l.row = r
		}
		if l.row >= 0 && l.text >= data.Min.X {
			for r := l.row; r < maxRows; r++ {
				free[r] = max(free[r], x+1)
			}
			free[l.row] = l.text + width + 2*air
			rows = max(rows, l.row+1)
		} else {
			l.row = -1
		}
		all = append(all, l)
	}
	return all, rows
}

// head draws the names of phases and marks above the data, and the marks' lines up to their names.
func (f frame) head(c draw.Canvas, labels []label) {
	top := c.Max.Y
	if len(f.phases) > 0 {
		names := style(inkQuiet)
		names.XAlign = draw.XCenter
		for _, s := range f.phases {
			from, to := c.X(s.from/f.end), c.X(s.to/f.end)
			if names.Width(s.name)+6 <= to-from {
				c.FillText(names, vg.Point{X: (from + to) / 2, Y: top - row + 4}, s.name)
			}
			c.StrokeLine2(draw.LineStyle{Color: inkAxis, Width: 3}, from+1, top-row, max(to-1, from+1), top-row)
		}
		top -= row + air
	}
	for _, l := range labels {
		x := c.X(l.at / f.end)
		if l.row < 0 {
			c.StrokeLine2(draw.LineStyle{Color: inkMark, Width: 1}, x, c.Min.Y, x, c.Min.Y+3)
			continue
		}
		upper := top - vg.Length(l.row*row)
		end := upper - 4
		if l.text <= x {
			end = upper - row
		}
		c.StrokeLine2(draw.LineStyle{Color: inkMark, Width: 1}, x, c.Min.Y, x, end)
		c.FillText(style(inkText), vg.Point{X: l.text, Y: upper - row + 4}, l.name)
	}
}
