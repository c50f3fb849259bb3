/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/report/page.h"

/* k0 to k7, colours of series, are told apart by most who see colours differently (Okabe, Ito). */
static const char colours[] =
	":root{color-scheme:light dark;--ink:#1c2430;--dim:#596579;--line:#d9dee5;--back:#fff;"
	"--card:#f6f8fa;--good:#00734c;--bad:#b3261e;--noisy:#8a5a00;--wash:#00734c1c}\n"
	".k0{color:#0072b2}.k1{color:#d55e00}.k2{color:#009e73}.k3{color:#b7578e}"
	".k4{color:#b07a00}.k5{color:#2f93c9}.k6{color:#7a5f00}.k7{color:#7f7f7f}\n"
	"@media screen and (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#a3adbb;"
	"--line:#39424e;--back:#12161c;--card:#1a2028;--good:#4fd1a1;--bad:#ff8a80;"
	"--noisy:#f0b429;--wash:#4fd1a122}\n"
	".k0{color:#4aa8e0}.k1{color:#ff8a3d}.k2{color:#2fcf9f}.k3{color:#e59ac6}"
	".k4{color:#e8b640}.k5{color:#8bd0f5}.k6{color:#c9ad4a}.k7{color:#a8a8a8}}\n";

static const char text_style[] =
	"body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--back);"
	"max-width:1200px;margin:2em auto;padding:0 1em;overflow-wrap:anywhere}\n"
	"h1{font-size:28px;margin:0}h2{font-size:20px;margin:2em 0 .5em}\n"
	".dim{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}"
	".noisy{color:var(--noisy)}\n"
	".tiles{display:flex;flex-wrap:wrap;gap:12px;margin:1em 0}"
	".tiles div{background:var(--card);border-radius:8px;padding:8px 18px}"
	".tiles b{font-size:34px;line-height:1.1;display:block}\n"
	".chips{display:flex;flex-wrap:wrap;gap:6px}"
	".chips a{border:2px solid;border-radius:6px;padding:2px 8px;text-decoration:none;"
	"font-size:13px;font-weight:600}.chips a.unsure{border-style:dashed}\n"
	".pill{display:inline-block;border:1px solid;border-radius:1em;padding:0 8px;"
	"font-size:13px;font-weight:600;white-space:nowrap;margin:1px 0}"
	".pill.bad{background:var(--bad);color:var(--back);border-color:var(--bad)}\n";

static const char table_style[] =
	"table{border-collapse:collapse;width:100%}\n"
	"th,td{text-align:left;padding:5px 8px;border-bottom:1px solid var(--line);"
	"vertical-align:middle}th{color:var(--dim);font-size:13px;vertical-align:bottom}\n"
	"td.n{font-variant-numeric:tabular-nums;white-space:nowrap}"
	"td.n b{font-size:17px}td small{display:block;color:var(--dim)}\n"
	"tr.met td:first-child{border-left:5px solid var(--good)}"
	"tr.missed td:first-child{border-left:5px solid var(--bad)}"
	"tr:target{background:var(--card)}\n"
	".ratio{width:320px}.ratio svg{display:block;width:100%;min-width:240px;max-width:320px}\n"
	"@media(max-width:860px){table,tbody,tr,td{display:block}tr{padding:8px 0;"
	"border-bottom:1px solid var(--line)}td,th{border:0;padding:2px 8px}"
	"th{display:none}th.ratio{display:block}.ratio{width:auto}"
	"td.n{white-space:normal}td:empty{display:none}}\n";

static const char figure_style[] =
	"figure{margin:1em 0;padding:14px;background:var(--card);border-radius:8px;"
	"overflow-x:auto;break-inside:avoid}\n"
	"figcaption{font-weight:600;font-size:17px;margin-bottom:6px}"
	"figcaption small{font-weight:400;color:var(--dim);display:block}\n"
	"figure svg{display:block;width:100%;min-width:700px;height:auto}\n"
	"svg text{fill:var(--ink);font:13px system-ui,sans-serif}"
	"svg text.tick{font-size:12px;fill:var(--dim)}svg text.sub{font-size:11.5px;"
	"fill:var(--dim)}\n"
	"svg text.strong{font-weight:600}svg tspan.sub{font-weight:400;fill:var(--dim)}"
	"svg tspan.noisy{fill:var(--noisy)}svg .whisker{stroke:var(--ink)}\n"
	"svg .axis{stroke:var(--dim)}svg .grid{stroke:var(--line)}svg .one{stroke:var(--dim)}"
	"svg .wash{fill:var(--wash)}svg .target{stroke:var(--ink);stroke-width:2}"
	"svg .mark{stroke:currentColor;fill:currentColor}"
	"svg .mark.unsure{fill:var(--back);stroke-width:2}\n";

void page_begin(FILE *file)
{
	(void)fprintf(file,
		"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
		"<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
		"<title>vmswap-bench</title>\n<style>\n%s%s%s%s</style></head><body>\n",
		colours, text_style, table_style, figure_style);
}

void page_text(FILE *file, const char *text)
{
	for (; text && *text; text++) {
		switch (*text) {
		case '<': (void)fputs("&lt;", file); break;
		case '>': (void)fputs("&gt;", file); break;
		case '&': (void)fputs("&amp;", file); break;
		case '"': (void)fputs("&quot;", file); break;
		default: (void)fputc(*text, file);
		}
	}
}

void page_member(FILE *file, const json_t *object, const char *key)
{
	page_text(file, json_string_value(json_object_get(object, key)));
}

void page_end(FILE *file)
{
	(void)fputs("</body></html>\n", file);
}
