#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What is in etc/ for Prometheus and Grafana: all figures that the dashboard and the alert rules name are there, promtool likes the
# rules, what they say of made-up figures, and /metrics. In make check-long a Prometheus of the test's own watches a daemon, answers
# each question of the dashboard with figures, and sees the daemon die and come back.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Http qw(get metrics);
use Hearth::Process qw(long_run program reap run scratch_dir slurp spawn spew wait_until);
use HTTP::Tiny;
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep);

my ($promtool, $prometheus) = ('/usr/bin/promtool', '/usr/bin/prometheus');
my ($rules, $cases) = ('etc/hearth-alerts.yml', 't/data/hearth-alerts-test.yml');
my $dashboard = decode_json(slurp('etc/grafana-dashboard.json'));

# ---- the dashboard ----
my @panels = map { ($_, @{ $_->{panels} // [] }) } @{ $dashboard->{panels} };
my (%id, @questions);
for my $p (@panels) {
	ok(!$id{ $p->{id} }++, "panel $p->{id}, $p->{title}: a number of its own");
	my $at = $p->{gridPos};
	cmp_ok($at->{x} + $at->{w}, '<=', 24, "$p->{title}: it fits");
	next if $p->{type} eq 'row';
	ok($p->{fieldConfig}{defaults}{unit} && $p->{description} =~ /\.$/, "$p->{title}: a unit, and a word on what it is");
	is($_->{datasource}{uid}, '${datasource}', "$p->{title}: asks the source that was chosen") for $p, @{ $p->{targets} };
	push @questions, map { [$p->{title}, $_->{expr}] } @{ $p->{targets} };
}
cmp_ok(scalar @questions, '>=', 50, scalar @questions . ' questions');
# Rows that are folded up have their panels to themselves.
my @open = @{ $dashboard->{panels} };
for my $i (0 .. $#open) {
	for my $k ($i + 1 .. $#open) {
		my ($a, $b) = map { $open[$_]{gridPos} } $i, $k;
		my $beside = $a->{x} + $a->{w} <= $b->{x} || $b->{x} + $b->{w} <= $a->{x} || $a->{y} + $a->{h} <= $b->{y} || $b->{y} + $b->{h} <= $a->{y};
		fail("$open[$i]{title} lies on $open[$k]{title}") unless $beside;
	}
}
my %variable = map { $_->{name} => $_ } @{ $dashboard->{templating}{list} };
is(join(' ', sort keys %variable), 'datasource instance job', 'what can be chosen');
is($variable{datasource}{type}, 'datasource', 'the source of the figures, too');
my $chosen = qr/\{job=~"\$job", instance=~"\$instance"[,}]/;
my $name = qr/\b(?:hearth|memcached|process)_[a-z_]+\b/;
for my $question (@questions) {
	my ($title, $expr) = @$question;
	is(join(' ', $expr =~ /($name)(?!$chosen)/g), '', "$title: only of what was chosen");
}

# ---- the rules ----
my @alerts = slurp($rules) =~ /^( +- alert: .*?)(?=^ *- |\z)/msg;
cmp_ok(scalar @alerts, '>=', 15, scalar @alerts . ' alerts');
for my $alert (@alerts) {
	my ($called) = $alert =~ /alert: (\w+)/;
	like($alert, qr/severity: (?:critical|warning|info)\}/, "$called: a severity");
	like($alert, qr/summary: ".*\{\{ \$labels\.instance \}\}/, "$called: it says where");
	like($alert, qr/description: >-\n\s+\S/, "$called: and what to do");
	like(slurp($cases), qr/\b$called\b/, "$called: is tried");
}
my @expressions = map { /expr: (?:>-\n)?(.*?)\n +(?:for|labels|record):/s } @alerts;
is(scalar @expressions, scalar @alerts, 'an expression each');

# ---- what they name ----
my $http = Hearth::Daemon::free_port();
my $daemon = Hearth::Daemon->start(args => ['-m', 32, '--http', $http, '--max-disk', '4g', '--compress', '--snapshot-interval', 2]);
my $client = $daemon->client;
$client->set('k', 'v');
wait_until('a snapshot', sub { $client->stats('persist')->{snapshots} }, 60);
my %there = map { s/\{.*//r => 1 } keys %{ metrics($http) };
# While it loads.
$there{$_} = 1 for grep { /^hearth_load_/ } slurp('src/server/metrics.c') =~ /"($name)"/g;
my %named = map { $_ => 1 } map { /($name)/g } (map { $$_[1] } @questions), @expressions;
delete @named{ grep { /^hearth_(?:gets|hit_ratio)$/ } keys %named };
is(join(' ', grep { !$there{$_} } sort keys %named), '', scalar(keys %named) . ' figures that are named are there');

# ---- promtool ----
SKIP: {
	skip 'no promtool', 3 unless -x $promtool;
	my ($code, $out, $err) = run([$promtool, 'check', 'rules', $rules]);
	is($code, 0, 'promtool check rules') or diag($out, $err);
	($code, $out, $err) = run([$promtool, 'test', 'rules', $cases]);
	is($code, 0, 'promtool test rules') or diag($out, $err);
	my $dir = scratch_dir();
	spew("$dir/metrics", get($http, '/metrics')->{body});
	($code, $out, $err) = run([$promtool, 'check', 'metrics'], in => "$dir/metrics");
	# That is how memcached_exporter calls it.
	my @complaints = grep { !/^memcached_uptime_seconds / } split /\n/, $out . $err;
	is(join("\n", @complaints), '', 'promtool check metrics');
}

# ---- a Prometheus ----
my $port = Hearth::Daemon::free_port();
sub asked
{
	my ($path, $query) = @_;
	sleep 0.05;
	my $a = HTTP::Tiny->new(timeout => 60)->post_form("http://127.0.0.1:$port/api/v1/$path", { query => $query });
	my $answer = eval { decode_json($a->{content}) } // { error => $a->{content} };
	return ($answer->{data}{result} // [], $answer->{error} // '');
}

# Of all rules: { name => its state }, and what went wrong.
sub rules_now
{
	sleep 0.05;
	my $a = HTTP::Tiny->new(timeout => 60)->get("http://127.0.0.1:$port/api/v1/rules");
	my @all = map { @{ $_->{rules} } } @{ decode_json($a->{content})->{data}{groups} };
	return (\@all, join("\n", map { "$_->{name}: $_->{lastError}" } grep { $_->{health} eq 'err' } @all));
}
sub state_of { my ($alert) = @_; return (map { $_->{state} } grep { $_->{name} eq $alert } @{ (rules_now())[0] })[0]; }

SKIP: {
	skip 'a Prometheus only in make check-long', 1 unless long_run() && -x $prometheus;
	my $dir = scratch_dir();
	my $here = `pwd` =~ s/\n//r;
	my $config = "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: ['$here/$rules']\n"
	    . "scrape_configs: [{job_name: hearth, static_configs: [{targets: ['127.0.0.1:$http']}]}]\n";
	spew("$dir/prometheus.yml", $config);
	my $pid = spawn([$prometheus, "--config.file=$dir/prometheus.yml", "--storage.tsdb.path=$dir/data",
		"--web.listen-address=127.0.0.1:$port", '--log.level=warn'], out => "$dir/out", err => "$dir/err");
	my $load = spawn([program('hearth'), 'bench', '--server', '127.0.0.1:' . $daemon->port, '--rate', 500, '--seconds', 600,
		'--connections', 2, '--get', 70, '--miss-set', '--keys', 200000, '--value-size', 400, '--ttl', 20], out => "$dir/bench");
	wait_until('Prometheus', sub { HTTP::Tiny->new->get("http://127.0.0.1:$port/-/ready")->{success} }, 120);
	for my $question (@questions) {
		my ($title, $expr) = @$question;
		$expr =~ s/\$__rate_interval/20s/g;
		$expr =~ s/\$(?:job|instance)/.*/g;
		my ($result, $error);
		# A rate needs two samples; the first ones are seconds old.
		my $answers = eval { wait_until($title, sub { ($result, $error) = asked('query', $expr); $error ne '' || @$result }, 60) };
		ok($answers && $error eq '' && @$result, "$title: an answer to $expr") or diag($error);
		is(scalar(grep { $_->{metric}{instance} ne "127.0.0.1:$http" } @$result), 0, "$title: which says of whom");
	}
	my @hits = @{ (asked('query', 'memcached_commands_total{command="get"}'))[0] };
	is(scalar @hits, 2, 'gets that hit and gets that miss');
	for my $variable (grep { $_->{type} eq 'query' } values %variable) {
		my ($series, $label) = $variable->{definition} =~ /^label_values\((.*), (\w+)\)$/;
		my ($result) = asked('query', $series =~ s/\$job/.*/r);
		ok(@$result && $result->[0]{metric}{$label}, "what $label can be chosen from");
	}
	my (undef, $error) = asked('query', $dashboard->{annotations}{list}[0]{expr} =~ s/\$(?:job|instance)/.*/gr);
	is($error, '', 'the marks of starts');

	wait_until('the rules to be looked at', sub { !grep { $_->{health} eq 'unknown' } @{ (rules_now())[0] } }, 60);
	my ($all, $wrong) = rules_now();
	is($wrong, '', 'no rule fails');
	is(scalar(grep { $_->{type} eq 'alerting' } @$all), scalar @alerts, 'all alerts are there');
	is(join(' ', map { $_->{name} } grep { ($_->{state} // '') eq 'firing' } @$all), '', 'none fires while all is well');
	for my $recorded (map { $_->{name} } grep { $_->{type} eq 'recording' } @$all) {
		ok(wait_until($recorded, sub { @{ (asked('query', $recorded))[0] } }, 60), "$recorded is recorded");
	}
	kill 'TERM', $load;
	reap($load, 30);
	$daemon->kill9;
	is(wait_until('it to be missed', sub { state_of('HearthDown') ne 'inactive' && state_of('HearthDown') }, 60), 'pending',
		'HearthDown begins when the daemon is gone');
	$daemon->up;
	is(wait_until('it to be back', sub { state_of('HearthDown') eq 'inactive' && 'gone' }, 60), 'gone', 'and ends when it is back');
	is(wait_until('the start', sub { state_of('HearthRestarted') eq 'firing' && 'seen' }, 60), 'seen', 'HearthRestarted tells of it');
	kill 'TERM', $pid;
	is(reap($pid, 60), 0, 'Prometheus ends');
	is(join("\n", grep { /level=error/ || /level=warn/ && !/Received SIGTERM/ } split /\n/, slurp("$dir/err")), '',
		'and had nothing to complain of');
}
is($daemon->stop, 0, 'the daemon ends');
done_testing();
