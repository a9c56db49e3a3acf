package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// columns is the width of Grafana's grid.
const columns = 24

// selector picks what the variables of the dashboard name; "{@" in an expression
// stands for its beginning.
const selector = `{namespace=~"$namespace", job=~"$job", pod=~"$pod"`

// board is a dashboard.
type board struct {
	uid, title, about string
	rows              []row
}

// row is a heading and the panels under it, which fill lines from left to right.
type row struct {
	title  string
	panels []panel
}

// kind is how a panel shows what it asked for.
type kind int

const (
	graph    kind = iota // lines over time
	number               // the last value
	timeline             // a value that stands for a word, over time
)

// panel is a panel.
type panel struct {
	kind          kind
	title, about  string
	unit          string // as Grafana calls it
	width, height uint32 // 0: 12 and 8
	queries       []query
	steps         []dashboard.Threshold // nil: none that mean anything
	words         []word                // of a timeline
	max           float64               // 0: open
	none          string                // what stands there without an answer
}

// query is an expression and what its lines are called.
type query struct{ expr, legend string }

// word is what a value of a timeline means.
type word struct {
	value, text, color string
}

// Colours of Grafana, which it knows in its light and dark themes.
const (
	green, yellow, orange, red, blue, grey = "green", "yellow", "orange", "red", "blue", "text"
)

// rising are thresholds above which something is not as it should be.
func rising(warn, bad float64) []dashboard.Threshold {
	return []dashboard.Threshold{{Color: green}, {Value: &warn, Color: orange}, {Value: &bad, Color: red}}
}

// falling are thresholds below which something is not as it should be.
func falling(bad, warn float64) []dashboard.Threshold {
	return []dashboard.Threshold{{Color: red}, {Value: &bad, Color: orange}, {Value: &warn, Color: green}}
}

// exactlyOne are thresholds of a number that has to be 1.
func exactlyOne() []dashboard.Threshold {
	one, two := 1.0, 2.0
	return []dashboard.Threshold{{Color: red}, {Value: &one, Color: green}, {Value: &two, Color: red}}
}

// source is the variable of the data source.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

// expand puts the selector in.
func expand(expr string) string { return strings.ReplaceAll(expr, "{@", selector) }

// build makes the dashboard of the SDK: the form that every Grafana in use reads. The
// one that replaces it, dashboardv2, is for the newest alone.
func (b board) build() (dashboard.Dashboard, error) { //nolint:staticcheck // see above
	d := dashboard.NewDashboardBuilder(b.title). //nolint:staticcheck // see above
							Uid(b.uid).Description(b.about).Tags([]string{"evenkeel"}).
							Time("now-1h", "now").Refresh("30s").Timezone("browser").Readonly().
							Tooltip(dashboard.DashboardCursorSyncCrosshair).
							Link(dashboard.NewDashboardLinkBuilder("Evenkeel").Type(dashboard.DashboardLinkTypeDashboards).
								Tags([]string{"evenkeel"}).AsDropdown(true).IncludeVars(true).KeepTime(true))
	for _, v := range variables() {
		d.WithVariable(v)
	}
	for _, a := range annotations() {
		d.Annotation(a)
	}
	y, id := uint32(0), uint32(0)
	for _, r := range b.rows {
		id++
		d.WithRow(dashboard.NewRowBuilder(r.title).Id(id).GridPos(dashboard.GridPos{Y: y, W: columns, H: 1}))
		y++
		x, tallest := uint32(0), uint32(0)
		for _, p := range r.panels {
			p = p.sized()
			if x+p.width > columns {
				x, y, tallest = 0, y+tallest, 0
			}
			id++
			d.WithPanel(p.build(id, dashboard.GridPos{X: x, Y: y, W: p.width, H: p.height}))
			x, tallest = x+p.width, max(tallest, p.height)
		}
		y += tallest
	}
	return d.Build()
}

// variables are what all dashboards can be narrowed to. Every sidecar has
// evenkeel_ready.
func variables() []cog.Builder[dashboard.VariableModel] {
	vs := []cog.Builder[dashboard.VariableModel]{
		dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus"),
	}
	var within []string
	for _, name := range []string{"namespace", "job", "pod"} {
		ask := "label_values(evenkeel_ready{" + strings.Join(within, ", ") + "}, " + name + ")"
		vs = append(vs, dashboard.NewQueryVariableBuilder(name).Label(strings.ToUpper(name[:1])+name[1:]).Datasource(source()).
			Query(dashboard.StringOrMap{String: &ask}).Definition(ask).
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc).
			Multi(true).IncludeAll(true).AllValue(".+").
			Current(dashboard.VariableOption{
				Text:  dashboard.StringOrArrayOfString{String: cog.ToPtr("All")},
				Value: dashboard.StringOrArrayOfString{String: cog.ToPtr("$__all")},
			}))
		within = append(within, name+`=~"$`+name+`"`)
	}
	return vs
}

// annotations mark compactions in every graph: that is what one looks for in it.
func annotations() []cog.Builder[dashboard.AnnotationQuery] {
	mark := func(name, color, title, expr string) *dashboard.AnnotationQueryBuilder {
		return dashboard.NewAnnotationQueryBuilder().Name(name).Datasource(source()).Enable(true).IconColor(color).
			Expr(expand(expr)).TitleFormat(title).TextFormat("{{namespace}}/{{pod}}").TagKeys("pod").Step("15s")
	}
	return []cog.Builder[dashboard.AnnotationQuery]{
		mark("Compaction runs", blue, "Compaction", `evenkeel_compaction_running{@} == 1`),
		// Short ones run between two scrapes: their end is kept.
		mark("Compaction done", green, "Compaction done", `1000 * (evenkeel_compaction_last_end_timestamp_seconds{@} > 0)`).UseValueForTime(true),
		mark("Compaction failed", red, "Compaction failed", `increase(evenkeel_compactions_total{@, result="failed"}[1m]) > 0`),
		mark("Resync", orange, "Resync ({{kind}})", `increase(evenkeel_replication_resyncs_total{@, kind!="continue"}[1m]) > 0`),
	}
}

// sized fills in what is left out.
func (p panel) sized() panel {
	if p.width == 0 {
		p.width = 12
	}
	if p.height == 0 {
		p.height = 8
	}
	return p
}

// targets are the queries of the SDK.
func (p panel) targets() []cog.Builder[variants.Dataquery] {
	var ts []cog.Builder[variants.Dataquery]
	for i, q := range p.queries {
		t := prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Datasource(source()).
			Expr(expand(q.expr)).LegendFormat(q.legend)
		if p.kind == number {
			t = t.Instant()
		} else {
			t = t.Range()
		}
		ts = append(ts, t)
	}
	return ts
}

// build makes the panel of the SDK at its place.
func (p panel) build(id uint32, at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	steps := dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(p.steps)
	if p.steps == nil {
		steps.Steps([]dashboard.Threshold{{Color: grey}})
	}
	switch p.kind {
	case number:
		return stat.NewPanelBuilder().Id(id).GridPos(at).Title(p.title).Description(p.about).Datasource(source()).
			Unit(p.unit).Thresholds(steps).NoValue(p.none).Targets(p.targets()).
			Orientation(common.VizOrientationAuto).ColorMode(common.BigValueColorModeValue).GraphMode(common.BigValueGraphModeNone).
			ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	case timeline:
		return statetimeline.NewPanelBuilder().Id(id).GridPos(at).Title(p.title).Description(p.about).Datasource(source()).
			Unit(p.unit).Thresholds(steps).NoValue(p.none).Targets(p.targets()).Mappings(p.mappings()).
			MergeValues(true).ShowValue(common.VisibilityModeAuto).RowHeight(0.8).
			Legend(common.NewVizLegendOptionsBuilder().ShowLegend(false).DisplayMode(common.LegendDisplayModeHidden).Placement(common.LegendPlacementBottom).Calcs([]string{}))
	}
	b := timeseries.NewPanelBuilder().Id(id).GridPos(at).Title(p.title).Description(p.about).Datasource(source()).
		Unit(p.unit).Min(0).Thresholds(steps).NoValue(p.none).Targets(p.targets()).
		LineWidth(1).FillOpacity(5).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeTable).
			Placement(common.LegendPlacementBottom).Calcs([]string{"max", "lastNotNull"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if p.steps != nil {
		b.ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	}
	if p.max > 0 {
		b.Max(p.max)
	}
	return b
}

// mappings are the words of a timeline.
func (p panel) mappings() []dashboard.ValueMapping {
	options := map[string]dashboard.ValueMappingResult{}
	for i, w := range p.words {
		options[w.value] = dashboard.ValueMappingResult{Text: &w.text, Color: &w.color, Index: cog.ToPtr(int32(i))} // #nosec G115 -- a handful
	}
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: options}}}
}
