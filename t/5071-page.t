#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The page of --http in a real browser: on a phone and on a desk, light and dark, while it loads, serves, and is gone. Nothing
# overlaps or sticks out, no chart is empty, each figure has its unit, the keyboard reaches everything. HEARTH_SHOTS=DIR keeps
# what it looked like.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Browser;
use Hearth::Daemon;
use Hearth::Process qw(long_run program sanitizer scratch_dir spawn wait_until);
use Test::More;
use Time::HiRes qw(sleep);

plan skip_all => 'a browser only in make check-long' unless long_run();
plan skip_all => 'no chromium with chromedriver' unless Hearth::Browser::there();

my $shots = $ENV{HEARTH_SHOTS} // scratch_dir();
my $http = Hearth::Daemon::free_port();
my $page = "http://127.0.0.1:$http/";
my $browser = Hearth::Browser->start;

# What is wrong with how it looks now, a line each.
my $look = <<'JS';
const wrong = [], width = window.innerWidth;
const shown = (e) => e.getClientRects().length > 0;
const name = (e) => (e.closest(".card")?.querySelector("h2,small")?.textContent || e.tagName) + ": " + e.textContent.slice(0, 30);
if (document.documentElement.scrollWidth > width) wrong.push("it scrolls sideways: " + document.documentElement.scrollWidth + " > " + width);
for (const e of document.querySelectorAll("body *")) {
	const r = e.getBoundingClientRect();
	if (shown(e) && r.width > 0 && (r.right > width + 0.5 || r.left < -0.5)) wrong.push("sticks out: " + name(e));
	if (shown(e) && !e.closest("svg") && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && e.tagName !== "PROGRESS") wrong.push("too wide inside: " + name(e));
}
for (const svg of document.querySelectorAll("svg")) {
	const box = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")].map((t) => [t.textContent, t.getBoundingClientRect()]);
	for (const [text, r] of texts)
		if (r.left < box.left - 1 || r.right > box.right + 1 || r.bottom > box.bottom + 1) wrong.push("cut off: " + text);
	for (let i = 0; i < texts.length; i++)
		for (let k = i + 1; k < texts.length; k++) {
			const [a, b] = [texts[i][1], texts[k][1]];
			if (a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom) wrong.push("overlap: " + texts[i][0] + " and " + texts[k][0]);
		}
}
/* Cards fill each row. */
const rows = new Map(), grid = document.getElementById("charts").getBoundingClientRect();
for (const e of [...document.querySelectorAll("#charts .card")].filter(shown)) {
	const r = e.getBoundingClientRect();
	rows.set(Math.round(r.top), Math.max(rows.get(Math.round(r.top)) || 0, r.right));
}
for (const [top, right] of rows) if (right < grid.right - 1) wrong.push("a row is not full: at " + top);
/* Text must stand out from what is behind it: 4.5 to 1. */
const parts = (c) => c.match(/[\d.]+/g).map(Number);
const light = ([r, g, b]) => { const f = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
function behind(e) {
	for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
	return [255, 255, 255];
}
for (const e of document.querySelectorAll("body *")) {
	if (!shown(e) || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || ["SCRIPT", "STYLE"].includes(e.tagName)) continue;
	const style = getComputedStyle(e), under = behind(e), opacity = e.closest(".past") ? Number(getComputedStyle(e.closest(".past")).opacity) : 1;
	const ink = parts(e.closest("svg") ? style.fill : style.color).slice(0, 3).map((v, i) => v * opacity + under[i] * (1 - opacity));
	const a = light(ink), b = light(under), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
	if (ratio < 4.5) wrong.push("faint (" + ratio.toFixed(1) + "): " + name(e));
	if (parseFloat(style.fontSize) < 11) wrong.push("small: " + name(e));
}
return wrong;
JS

# Charts that show nothing, and figures without a unit.
my $empty = <<'JS';
const wrong = [];
for (const card of document.querySelectorAll("#charts .card")) {
	if (!card.getClientRects().length) continue;
	const title = card.querySelector("h2").textContent, box = card.querySelector(".chart");
	if (box) {
		const lines = [...card.querySelectorAll("path.series")];
		if (!lines.length || !lines.some((p) => (p.getAttribute("d").match(/L/g) || []).length >= arguments[0])) wrong.push(title + ": no line" + card.textContent);
		if (!/\d/.test(box.getAttribute("aria-label"))) wrong.push(title + ": says no figure");
	} else if (card.querySelectorAll("dd").length < 4) wrong.push(title + ": no facts");
}
const unit = /^(?:0|\d[\d.]*(?:\u00a0[kMGT])?\/s|\d[\d.]*\u00a0(?:[KMGT]iB|B)(?:\/s)?|\d[\d.]*\u00a0(?:%|s|ms|\u00b5s|min|h)|none just now)$/;
for (const b of document.querySelectorAll("#charts .keys b")) if (!unit.test(b.textContent)) wrong.push("no unit: " + b.textContent);
for (const t of document.querySelectorAll("#charts svg text")) if (!unit.test(t.textContent.replace(/ ago$/, "")) && t.textContent !== "now") wrong.push("no unit: " + t.textContent);
for (const b of document.querySelectorAll(".tile")) if (!/\d/.test(b.querySelector("b").textContent)) wrong.push("no figure: " + b.textContent);
if (document.querySelectorAll(".tile").length < arguments[1]) wrong.push("tiles are missing");
return wrong;
JS

sub wrong { my ($script, @args) = @_; return join "\n", @{ $browser->script($script, @args) }; }
sub text { my ($id) = @_; return $browser->script('const e = document.getElementById(arguments[0]); return e.hidden ? "" : e.textContent', $id); }
sub until_true { my ($what, $script) = @_; return wait_until($what, sub { sleep 0.2; $browser->script($script) }, 120); }

# On all kinds of screens. Themes differ, as does what stands beside what.
sub looked_at
{
	my ($what, $file) = @_;
	my %background;
	for my $screen ([360, 800, 'light'], [360, 800, 'dark'], [320, 640, 'light'], [768, 1024, 'dark'], [1280, 900, 'light'], [1280, 900, 'dark']) {
		my ($width, $height, $theme) = @$screen;
		$browser->look($width, $height, $theme);
		# Charts are drawn anew in the next frame.
		sleep 0.5;
		is(wrong($look), '', "$what, $width pixels, $theme: nothing overlaps, sticks out or is faint");
		$background{ $browser->script('return getComputedStyle(document.body).backgroundColor') }{$theme} = 1;
		$browser->screenshot("$shots/$file-$theme-$width.png") unless $width == 320;
	}
	is(scalar keys %background, 2, "$what: two themes");
	is(join(' ', map { scalar keys %$_ } values %background), '1 1', 'one background each');
	return;
}

# ---- serving ----
my $daemon = Hearth::Daemon->start(args => ['-m', 32, '--http', $http, '--snapshot-interval', 0, '-I', '1m']);
my $load = spawn([program('hearth'), 'bench', '--server', '127.0.0.1:' . $daemon->port, '--rate', 2500, '--seconds', 600,
	'--connections', 4, '--get', 70, '--miss-set', '--keys', 200000, '--value-size', 400, '--ttl', 20]);
$browser->look(360, 800, 'light')->open($page);
is($browser->script('return document.title'), 'Hearth', 'the page is there');
like($browser->script('return document.querySelector(".chart").textContent'), qr/collecting/, 'before there is a line, a chart says what it waits for')
    if $browser->script('return samples.length') < 2;
until_true('a few samples', 'return samples.length >= 5');
kill 'USR2', $daemon->pid;
until_true('a snapshot', 'return samples[samples.length - 1].m.get("hearth_snapshots_total") > 0');
until_true('evictions', 'return samples[samples.length - 1].m.get("memcached_items_evicted_total") > 0 && samples.length >= 8');
is(text('state'), 'serving', 'it says that it serves');
is(wrong($empty, 1, 8), '', 'no chart is empty, figures have units');
looked_at('serving', 'serving');
for my $kind (qw(get set)) {
	my $chart = qq(charts.find((c) => c.title === "Request latency, $kind"));
	like($browser->script("return $chart.box.getAttribute('aria-label')"), qr/^Request latency, $kind, now: p50 \d[\d.]*\x{a0}(?:\x{b5}s|ms|s), p99 \d[\d.]*\x{a0}(?:\x{b5}s|ms|s)$/,
		"latency of a $kind is shown, with units");
	my ($p50, $p99) = map { $browser->script("return values($chart.series[$_])") } 0, 1;
	is(scalar(grep { defined $$p50[$_] && !($$p50[$_] > 0 && $$p50[$_] <= $$p99[$_] && $$p99[$_] <= 10) } 0 .. $#$p50), 0, 'p50 is below p99');
}
# Of made-up figures: a step's part, none, beyond all steps; and what there was before is taken off.
my $made = <<'JS';
const at = (...n) => ({ m: new Map(["0.001", "0.002", "0.004", "+Inf"].map((le, i) => ['hearth_request_duration_seconds_bucket{command="get",le="' + le + '"}', n[i]])) });
const before = at(100, 100, 100, 100);
return [latency("get", 0.5)(before, at(100, 150, 200, 200)), latency("get", 0.99)(before, at(100, 150, 200, 200)), latency("get", 0.5)(before, at(120, 120, 120, 120)),
	latency("get", 0.5)(before, before), latency("get", 0.99)(before, at(100, 100, 100, 101))].map((v) => v === undefined ? "none" : v.toFixed(5)).join(" ");
JS
is($browser->script($made), '0.00200 0.00396 0.00050 none 0.00400', 'percentiles are those of the steps');
is($browser->script('const s = { of: (a, b) => samples.indexOf(b) - samples.indexOf(a), over: 5 }; return values(s).slice(0, 6).join(" ")'), '1 2 3 4 5 5',
	'over the samples that there are');
my $numbers = $browser->script('return [...document.querySelectorAll(".tile")].map((t) => t.textContent)');
like($$numbers[5], qr/^Connections4of 1024$/, 'figures are those of the daemon');

# ---- the keyboard ----
$browser->look(1280, 900, 'light');
$browser->script('document.activeElement.blur()');
my (@reached, %seen);
for (1 .. 20) {
	$browser->press('Tab');
	my $at = $browser->script('const e = document.activeElement; return e === document.body ? "" : e.id || e.closest(".card")?.querySelector("h2").textContent || e.textContent');
	last if $at eq '' || $seen{$at}++;
	push @reached, $at;
	isnt($browser->script('return getComputedStyle(document.activeElement).outlineStyle'), 'none', "$at: it is seen where one is");
}
is("@reached[0, 1]", 'pause Hit ratio', 'Tab reaches the button, then the charts');
cmp_ok(scalar @reached, '>=', 12, 'and all of them, and the links');
$browser->script('document.querySelector(".chart").focus()');
my $now = $browser->script('return document.activeElement.getAttribute("aria-label")');
like($now, qr/^Hit ratio, now: gets that hit \d/, 'a chart says its figure to a screen reader');
$browser->press('Home');
my $home = $browser->script('return document.activeElement.getAttribute("aria-label")');
like($home, qr/^Hit ratio, \d+\x{a0}(?:s|min) ago: /, 'Home goes to the first figure');
is($browser->script('return document.querySelectorAll("line.cursor").length > 5'), 1, 'which all charts mark');
$browser->press('Right', 'Right', 'Left');
isnt($browser->script('return document.activeElement.getAttribute("aria-label")'), $home, 'arrows read on');
$browser->press('Escape');
is($browser->script('return document.querySelectorAll("line.cursor").length'), 0, 'Escape leaves');
$browser->press(' ');
is(text('pause'), 'Go on', 'space pauses');
my $count = $browser->script('return samples.length');
sleep 5;
is($browser->script('return samples.length'), $count, 'nothing is asked any more');
$browser->press(' ');
until_true('it to go on', "return samples.length > $count");
is(text('pause'), 'Pause', 'and again goes on');
is($browser->script('return samples.some((s) => s.again)'), 0, 'one life of the daemon');

# ---- gone, loading, back ----
kill 'TERM', $load;
$daemon->kill9;
until_true('the page to see it', 'return !document.getElementById("gone").hidden');
is(text('state'), 'no answer', 'a daemon that is gone');
like(text('gone'), qr/^The daemon has not answered since /, 'is told');
looked_at('gone', 'gone');
SKIP: {
	skip 'no strace under a sanitizer', 1 if sanitizer();
	my @files = map { ('-P', $_) } glob $daemon->dir . '/{log,snapshot}-*';
	$daemon->{prefix} = ['strace', '-D', '-f', '-o', '/dev/null', @files, '-e', 'trace=pread64', '-e', 'inject=pread64:delay_enter=200000'];
	$daemon->{port} = Hearth::Daemon::free_port();
	$daemon->{err_start} = -s $daemon->{errors};
	$daemon->{pid} = spawn([$daemon->command], err => $daemon->{errors});
	until_true('the page to see it load', 'return !document.getElementById("loading").hidden');
	is(text('state'), 'loading', 'loading');
	is(text('gone'), '', 'it is back');
	like(wait_until('progress', sub { text('loaded') =~ /^[1-9].*%/ && text('loaded') }, 60),
		qr/^\d[\d.]*\x{a0}% of [\d.]+\x{a0}[KM]iB, .* items in [\d.]+\x{a0}s, .* left\z/, 'and how far it is');
	looked_at('loading', 'loading');
	$daemon->wait_ready;
	$daemon->{prefix} = [];
}
$daemon->restart;
until_true('it to serve again', 'return document.getElementById("state").textContent === "serving"');
until_true('two samples', 'return samples.filter((s, i) => i > 1 && !s.again).length > 3 && samples[samples.length - 1].m.get("hearth_recovery_items") > 0');
is($browser->script('return samples.filter((s) => s.again).length >= 1'), 1, 'a start is seen');
is($browser->script('return charts.some((c) => c.series.some((s) => values(s).some((v) => v < 0)))'), 0, 'nothing is below zero for it');
is($browser->script('const s = { of: (a, b) => samples.slice(samples.indexOf(a) + 1, samples.indexOf(b) + 1).some((x) => x.again), over: 5 }; return values(s).some((v) => v === true)'), 0,
	'nor is anything taken over it');
like($browser->script('return document.querySelectorAll(".facts")[1].textContent'), qr/^Last start.*Loaded[1-9][\d.]*/, 'what it loaded is told');
$browser->screenshot("$shots/back-light.png");
is($daemon->stop, 0, 'it stops');

# ---- nothing kept, nothing asked for ----
$daemon = Hearth::Daemon->start(dir => 'none', args => ['--http', $http]);
$browser->open($page);
until_true('two samples', 'return samples.length >= 3');
is($browser->script('return [...document.querySelectorAll("#charts .card")].filter((c) => c.getClientRects().length && /log|snapshot|fsync|start/i.test(c.querySelector("h2").textContent)).length'),
	0, '--data-dir none: no charts of what is not there');
like($browser->script('return document.querySelector(".chart").textContent'), qr/no get in the last minutes/, 'a chart without figures says why');
looked_at('idle', 'idle');
is($daemon->stop, 0, 'it stops');
my @complaints = grep { !/ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/ } $browser->complaints;
is("@complaints", '', 'the browser had nothing to say: no policy was broken');
$browser->stop;
done_testing();
