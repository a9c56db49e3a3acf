package spike

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed page.html
var pageText string

// WritePage writes the result as one HTML page that needs nothing else: three
// pictures over the same time, and the figures.
func (r *Result) WritePage(w io.Writer) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	var table strings.Builder
	if err := r.writeFigures(&table); err != nil {
		return err
	}
	return t.Execute(w, map[string]any{
		"Result": r, "Table": table.String(), "Findings": r.Findings(),
		"Charts": []*chart{r.latencyChart(), r.memoryChart(), r.logChart()},
	})
}

// The size of a picture and the room around its plot, in units of the SVG.
const (
	chartWidth, chartHeight         = 960.0, 250.0
	plotLeft, plotRight             = 64.0, 130.0 // labels of the lines stand on the right
	plotTop, plotBottom             = 12.0, 26.0
	plotWidth                       = chartWidth - plotLeft - plotRight
	plotHeight                      = chartHeight - plotTop - plotBottom
	mostTicks, labelHeight, maxBand = 8, 13.0, 4
)

// chart is one picture: lines over time, and the compaction as a band.
type chart struct {
	Title, About  string
	Lines         []*line
	XTicks        []tick
	YTicks        []tick
	Band          [3]float64 // x of AOFSHRINK, of its end, of the follower level again
	end           float64    // seconds
	low, high     float64    // of y
	log           bool
	Width, Height float64
	Left, Bottom  float64
	Right, Top    float64
}

type tick struct {
	At   float64
	Text string
}

// line is one line of a picture. Where it has no points it is interrupted.
type line struct {
	Name   string
	Class  string // of the style
	Path   string
	LabelY float64
	x, y   []float64
}

func (r *Result) newChart(title, about string) *chart {
	return &chart{
		Title: title, About: about, end: r.End, Width: chartWidth, Height: chartHeight,
		Left: plotLeft, Bottom: chartHeight - plotBottom, Right: chartWidth - plotRight, Top: plotTop,
	}
}

func (r *Result) latencyChart() *chart {
	c := r.newChart("p99 of each half second", "Logarithmic: each line is ten times the one below it.")
	c.log = true
	for _, s := range r.Series {
		l := &line{Name: s.Name, Class: strings.ReplaceAll(strings.ToLower(s.Name), " ", "-")}
		for i, v := range s.Windows {
			if v < 0 {
				v = math.NaN()
			}
			l.x, l.y = append(l.x, (float64(i)+0.5)*window.Seconds()), append(l.y, v)
		}
		c.Lines = append(c.Lines, l)
	}
	c.draw(r, millis)
	return c
}

func (r *Result) memoryChart() *chart {
	c := r.newChart("Memory", "Taken from the system and not given back.")
	r.readings(c, func(x Reading) float64 { return float64(x.Memory) })
	return c
}

func (r *Result) logChart() *chart {
	c := r.newChart("Log", "aof_size, as each server reports it. A follower that resyncs from zero counts its old log as well.")
	r.readings(c, func(x Reading) float64 { return float64(x.Log) })
	return c
}

func (r *Result) readings(c *chart, value func(Reading) float64) {
	r.eachServer(func(name string, s *Server) {
		l := &line{Name: name, Class: name + "-set"}
		for _, x := range s.Readings {
			l.x, l.y = append(l.x, x.Seconds), append(l.y, value(x))
		}
		c.Lines = append(c.Lines, l)
	})
	c.draw(r, func(v float64) string { return size(int64(v)) })
}

// draw computes the scales and the paths.
func (c *chart) draw(r *Result, text func(float64) string) {
	c.low, c.high = math.Inf(1), math.Inf(-1)
	for _, l := range c.Lines {
		for _, v := range l.y {
			if !math.IsNaN(v) {
				c.low, c.high = min(c.low, v), max(c.high, v)
			}
		}
	}
	if c.low > c.high { // nothing at all
		c.low, c.high = 0, 1
	}
	step := c.scale()
	for v := c.low; v <= c.high*(1+1e-9); {
		c.YTicks = append(c.YTicks, tick{c.yOf(v), text(v)})
		if c.log {
			v *= 10
		} else {
			v += step
		}
	}
	for _, l := range c.Lines {
		c.path(l)
	}
	c.spread()
	every := nice(c.end / mostTicks)
	for t := 0.0; t <= c.end; t += every {
		c.XTicks = append(c.XTicks, tick{c.xOf(t), fmt.Sprintf("%g s", t)})
	}
	c.Band = [3]float64{c.xOf(r.Compaction), c.xOf(r.Compacted), c.xOf(r.After)}
}

// scale widens the range of values to round numbers, and returns their distance.
func (c *chart) scale() (step float64) {
	if c.log {
		const least = 1e-2 // milliseconds
		c.low = math.Pow(10, math.Floor(math.Log10(max(c.low, least))))
		c.high = math.Pow(10, math.Ceil(math.Log10(max(c.high, 10*c.low))))
		return 0
	}
	c.low = 0
	step = nice(max(c.high, 1) / maxBand)
	c.high = step * math.Ceil(max(c.high, 1)/step)
	return step
}

// nice is 1, 2 or 5 times a power of ten, not less than v.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*p*(1+1e-9) {
			return m * p
		}
	}
	return 10 * p
}

func (c *chart) xOf(seconds float64) float64 {
	if c.end <= 0 {
		return plotLeft
	}
	return plotLeft + plotWidth*min(max(seconds/c.end, 0), 1)
}

func (c *chart) yOf(v float64) float64 {
	part := (v - c.low) / (c.high - c.low)
	if c.log {
		part = math.Log10(max(v, c.low)/c.low) / math.Log10(c.high/c.low)
	}
	return plotTop + plotHeight*(1-min(max(part, 0), 1))
}

// path makes the line of its points; the label stands where it ends.
func (c *chart) path(l *line) {
	var b strings.Builder
	pen := "M"
	l.LabelY = plotTop + plotHeight
	for i := range l.x {
		if math.IsNaN(l.y[i]) {
			pen = "M"
			continue
		}
		x, y := c.xOf(l.x[i]), c.yOf(l.y[i])
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, x, y)
		pen, l.LabelY = "L", y
	}
	l.Path = b.String()
}

// spread moves labels apart that would stand on each other.
func (c *chart) spread() {
	order := append([]*line(nil), c.Lines...)
	for i := range order { // few: the simplest sort
		for j := i + 1; j < len(order); j++ {
			if order[j].LabelY < order[i].LabelY {
				order[i], order[j] = order[j], order[i]
			}
		}
	}
	last := plotTop + plotHeight + labelHeight
	for i := len(order) - 1; i >= 0; i-- {
		order[i].LabelY = min(order[i].LabelY, last-labelHeight)
		last = order[i].LabelY
	}
}

// What the page asks for.

// Span is how wide the part of the band between two of its times is.
func (c *chart) Span(from, to int) float64 { return max(c.Band[to]-c.Band[from], 0) }

// PlotHeight is the height of what is inside the axes.
func (c *chart) PlotHeight() float64 { return plotHeight }

// YLabel is where the labels of the y axis end.
func (c *chart) YLabel() float64 { return plotLeft - 8 }

// XLabel is where the labels of the x axis stand.
func (c *chart) XLabel() float64 { return chartHeight - plotBottom/3 }

// NameX is where the names of the lines begin.
func (c *chart) NameX() float64 { return chartWidth - plotRight + 8 }
