/* SPDX-License-Identifier: Apache-2.0 */
/* One page that needs nothing but itself: no script, no font, no address. */
#include "replay/report-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

static const char style[] =
	":root{--paper:#fbfbf9;--card:#fff;--ink:#1d2126;--muted:#646c77;--line:#dcdfe3;"
	"--accent:#0b7d55;--warn:#9a5b00;--warn-bg:#fff4de}\n"
	"@media (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1b1f24;--ink:#e5e8ec;"
	"--muted:#9aa3ae;--line:#333a42;--accent:#3ecf97;--warn:#f0bd6a;--warn-bg:#2e2615}}\n"
	"*{box-sizing:border-box}\n"
	"body{margin:0;background:var(--paper);color:var(--ink);"
	"font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}\n"
	"main{max-width:84rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}\n"
	"h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}\n"
	"h2{font-size:1.25rem;margin:3rem 0 .6rem}\n"
	"p{max-width:46rem}\n"
	".lead{color:var(--muted);margin:0 0 1.2rem}\n"
	".note{background:var(--warn-bg);color:var(--warn);padding:.6rem .9rem;border-radius:.4rem;"
	"max-width:none}\n"
	"dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:.7rem "
	"1.5rem;"
	"margin:1.4rem 0}\n"
	"dt{font-size:.78rem;color:var(--muted)}\n"
	"dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}\n"
	"dl.figures dd{font-size:1.7rem;line-height:1.3;font-weight:600;color:var(--accent)}\n"
	"figure{margin:1rem 0 1.6rem;background:var(--card);border:1px solid var(--line);"
	"border-radius:.5rem;padding:1rem}\n"
	"figure svg{display:block;width:100%;height:auto}\n"
	"figcaption{color:var(--muted);font-size:.88rem;margin-top:.6rem}\n"
	"svg [color=black]{color:var(--ink)}\n"
	"svg [fill=black],svg [fill='rgb(0,0,0)']{fill:var(--ink)}\n"
	"svg [stroke=black]{stroke:var(--ink)}\n"
	"svg text{font-family:inherit}\n"
	".wide{overflow:auto;max-height:85vh;border:1px solid var(--line);border-radius:.5rem;"
	"background:var(--card)}\n"
	"table{border-collapse:collapse;font-size:.84rem;font-variant-numeric:tabular-nums;"
	"width:100%;white-space:nowrap}\n"
	"caption{text-align:left;padding:.5rem .7rem;color:var(--muted)}\n"
	"th,td{padding:.28rem .7rem;text-align:right}\n"
	"thead th{position:sticky;top:0;background:var(--card);color:var(--muted);"
	"font-weight:600;box-shadow:inset 0 -1px var(--line)}\n"
	"td.text,th.text{text-align:left}\n"
	"tr.first td{border-top:1px solid var(--line)}\n"
	"tr.own td{color:var(--accent);font-weight:600}\n"
	"tbody tr:hover{background:color-mix(in srgb,var(--muted) 12%,transparent)}\n"
	"details{margin:.8rem 0}summary{cursor:pointer}\n"
	"@media print{.wide{max-height:none;overflow:visible}}\n";

static void escape(const char *s, FILE *f)
{
	for (; *s; s++) {
		if (*s == '&')
			(void)fputs("&amp;", f);
		else if (*s == '<')
			(void)fputs("&lt;", f);
		else if (*s == '>')
			(void)fputs("&gt;", f);
		else if (*s == '"')
			(void)fputs("&quot;", f);
		else if (*s == '\'')
			(void)fputs("&#39;", f);
		else
			(void)fputc((unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s, f);
	}
}

/* ---- tables ---- */

static void print_head(const struct report_column *columns, size_t n, FILE *f)
{
	(void)fputs("<thead><tr>", f);
	for (size_t i = 0; i < n; i++) {
		(void)fprintf(f, "<th scope=\"col\"%s title=\"",
			      columns[i].decimals < 0 ? " class=\"text\"" : "");
		escape(columns[i].meaning, f);
		(void)fprintf(f, "\" data-key=\"%s\">", columns[i].key);
		escape(columns[i].title, f);
		(void)fputs("</th>", f);
	}
	(void)fputs("</tr></thead>\n", f);
}

static void print_row(const json_t *row, const struct report_column *columns, size_t n, bool first,
		      FILE *f)
{
	bool own = strcmp(report_string(row, "policy"), "cofris") == 0;
	char text[REPORT_VALUE_MAX];

	(void)fprintf(f, "<tr%s>",
		      first && own ? " class=\"first own\""
		      : first	   ? " class=\"first\""
		      : own	   ? " class=\"own\""
				   : "");
	for (size_t i = 0; i < n; i++) {
		report_show(json_object_get(row, columns[i].key), columns[i].decimals, text);
		(void)fputs(columns[i].decimals < 0 ? "<td class=\"text\">" : "<td>", f);
		escape(text, f);
		(void)fputs("</td>", f);
	}
	(void)fputs("</tr>\n", f);
}

/* which: "results" or "geomean". */
static void print_table(const json_t *object, const char *which,
			const struct report_column *columns, size_t n, FILE *f)
{
	const json_t *rows = json_object_get(object, which), *row;
	const char *model = "", *last = "";
	size_t i;

	(void)fprintf(f, "<div class=\"wide\" tabindex=\"0\"><table data-rows=\"%s\" data-slo=\"",
		      which);
	escape(report_string(object, "slo"), f);
	(void)fputs("\"><caption>SLO ", f);
	escape(report_string(object, "slo"), f);
	(void)fprintf(f, "%s</caption>\n",
		      json_is_true(json_object_get(object, "modelled"))
			      ? ", simulated; power gating is modelled"
			      : ", simulated");
	print_head(columns, n, f);
	(void)fputs("<tbody>\n", f);
	json_array_foreach(rows, i, row)
	{
		model = report_string(row, "model");
		print_row(row, columns, n, i > 0 && strcmp(model, last) != 0, f);
		last = model;
	}
	(void)fputs("</tbody></table></div>\n", f);
}

static void print_tables(const json_t *object, json_t *const *others, size_t n_others,
			 const char *which, const struct report_column *columns, size_t n, FILE *f)
{
	print_table(object, which, columns, n, f);
	for (size_t i = 0; i < n_others; i++) {
		(void)fputs("<details><summary>At SLO ", f);
		escape(report_string(others[i], "slo"), f);
		(void)fputs("</summary>\n", f);
		print_table(others[i], which, columns, n, f);
		(void)fputs("</details>\n", f);
	}
}

/* ---- figures ---- */

static void print_figure(const struct figure *figure, FILE *f)
{
	const char *rest = figure->svg + strlen("<svg");

	(void)fprintf(f, "<figure data-figure=\"%s\">\n<svg role=\"img\" aria-label=\"",
		      figure->section);
	escape(figure->caption, f);
	(void)fprintf(f, "\"%s<figcaption>", rest);
	escape(figure->caption, f);
	(void)fputs("</figcaption></figure>\n", f);
}

/* Those of models after the first are folded. */
static void print_figures(const struct figures *figures, const char *section, const char *title,
			  FILE *f)
{
	uint32_t shown = 0;

	for (uint32_t i = 0; i < figures->n; i++) {
		const struct figure *figure = &figures->all[i];

		if (strcmp(figure->section, section) != 0)
			continue;
		if (shown++ == 0)
			(void)fprintf(f, "<h2 id=\"%s\">%s</h2>\n", section, title);
		if (figure->model) {
			(void)fprintf(f, "<details%s><summary>", shown == 1 ? " open" : "");
			escape(figure->model, f);
			(void)fputs("</summary>\n", f);
		}
		print_figure(figure, f);
		if (figure->model)
			(void)fputs("</details>\n", f);
	}
}

/* ---- the page ---- */

static const struct {
	const char *key, *label, *unit;
	int decimals;
} set_up[] = {
	{"device", "card", "", -1},
	{"trace", "trace", "", -1},
	{"trace_format", "trace format", "", -1},
	{"smoothing_k", "smoothing", " bins", 0},
	{"mean_load", "mean load", "", 3},
	{"load_definition", "load", "", -1},
	{"duration_s", "duration", " s", 0},
	{"slo", "SLO", "", -1},
	{"percentile", "percentile", "", 0},
	{"latency_notion", "latency", "", -1},
	{"headroom", "headroom", "", 2},
	{"gating", "power gating", "", -1},
	{"switch_ms", "clock change", " ms", 1},
	{"dpm_ramp_ms", "DPM ramp", " ms", 1},
	{"idle_active_share", "active-idle power between requests", "", 2},
	{"service_cards", "service cards", "", 0},
	{"ensemble", "parameter sets", "", 0},
	{"max_batch", "largest batch", "", 0},
	{"cap_w", "power cap", " W", 0},
	{"seed", "seed", "", 0},
};

static void print_set_up(const json_t *object, FILE *f)
{
	char text[REPORT_VALUE_MAX];

	(void)fputs("<dl>\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(set_up); i++) {
		const json_t *value = json_object_get(object, set_up[i].key);

		report_show(value, set_up[i].decimals, text);
		(void)fprintf(f, "<div><dt>%s</dt><dd>", set_up[i].label);
		escape(text, f);
		(void)fprintf(f, "%s</dd></div>\n", json_is_number(value) ? set_up[i].unit : "");
	}
	(void)fputs("</dl>\n", f);
}

static void print_saving(const json_t *mean, const char *key, const char *label, FILE *f)
{
	double ratio = report_number(mean, key);

	if (isfinite(ratio))
		(void)fprintf(f, "<div><dt>power %s %s</dt><dd>%.1f %%</dd></div>\n",
			      ratio <= 1 ? "saved against" : "more than", label,
			      100 * fabs(1 - ratio));
}

/* What somebody who asks "what would it save" wants to see first. */
static void print_figures_of_cofris(const json_t *object, FILE *f)
{
	const json_t *means = json_object_get(object, "geomean"), *mean;
	const json_t *results = json_object_get(object, "results"), *row;
	double worst = 0;
	size_t i;

	json_array_foreach(results, i, row)
	{
		if (strcmp(report_string(row, "policy"), "cofris") == 0)
			worst = fmax(worst, report_number(row, "excess_late_pct"));
	}
	json_array_foreach(means, i, mean)
	{
		if (strcmp(report_string(mean, "policy"), "cofris") != 0)
			continue;
		(void)fprintf(
			f,
			"<p>Policy <strong>cofris</strong>: power over the models%s; lateness "
			"of the worst model at headroom %.2f.</p>\n<dl class=\"figures\">\n",
			report_means_are(object), report_number(object, "headroom"));
		print_saving(mean, "power_vs_auto", "auto", f);
		print_saving(mean, "power_vs_maximum", "maximum", f);
		(void)fprintf(f,
			      "<div><dt>requests late because of it</dt><dd>%.3f "
			      "%%</dd></div>\n</dl>\n",
			      worst);
	}
}

static void print_opening(const json_t *object, FILE *f)
{
	const char *trace = report_string(object, "trace"), *slash = strrchr(trace, '/');
	bool modelled = json_is_true(json_object_get(object, "modelled"));

	(void)fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
		    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
		    "<meta name=\"color-scheme\" content=\"light dark\">\n<title>cofris-replay: ",
		    f);
	escape(trace, f);
	(void)fprintf(f, "</title>\n<style>\n%s</style></head>\n<body><main>\n<h1>", style);
	escape(slash && slash[1] ? slash + 1 : trace, f);
	(void)fputs(
		"</h1>\n<p class=\"lead\">What each policy takes on this load, and what becomes "
		"of latency.</p>\n<p class=\"note\"><strong>Simulated.</strong> Cards, sensors "
		"and service times are a model of ",
		f);
	escape(report_string(object, "product"), f);
	(void)fprintf(f, "; nothing here was measured on hardware.%s</p>\n",
		      modelled ? " <strong>Modelled power gating:</strong> no real card switches "
				 "compute units off by a mask."
			       : "");
}

static void print_meanings(FILE *f)
{
	(void)fputs("<h2 id=\"meanings\">What the columns mean</h2>\n<dl>\n", f);
	for (size_t i = 0; i < report_n_result_columns; i++) {
		if (!*report_result_columns[i].meaning)
			continue;
		(void)fprintf(f, "<div><dt>%s</dt><dd>", report_result_columns[i].title);
		escape(report_result_columns[i].meaning, f);
		(void)fputs("</dd></div>\n", f);
	}
	(void)fputs("</dl>\n", f);
}

int report_html(const struct figures *figures, const json_t *object, json_t *const *others,
		size_t n_others, FILE *f)
{
	print_opening(object, f);
	print_figures_of_cofris(object, f);
	print_set_up(object, f);
	print_figures(figures, "power", "Power", f);
	(void)fputs("<h2 id=\"geomean\">All models</h2>\n", f);
	(void)fprintf(f, "<p>Geometric means over the models%s.</p>\n", report_means_are(object));
	print_tables(object, others, n_others, "geomean", report_mean_columns,
		     report_n_mean_columns, f);
	print_figures(figures, "slo", "Sensitivity to the objective", f);
	print_figures(figures, "tail", "Tail latency", f);
	print_figures(figures, "curves", "Energy against lateness", f);
	(void)fputs("<h2 id=\"results\">Every result</h2>\n", f);
	print_tables(object, others, n_others, "results", report_result_columns,
		     report_n_result_columns, f);
	print_figures(figures, "surface", "Response surfaces", f);
	print_figures(figures, "run", "The run over time", f);
	print_meanings(f);
	(void)fputs("</main></body></html>\n", f);
	return ferror(f) ? -EIO : 0;
}
