#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# make bench: the floor answers the same bytes as the daemon, tables of figures come back as they were, medians, and the
# verdicts on figures that are made up here.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Bench qw(load mean median ratio read_table start write_table);
use Hearth::Daemon;
use Hearth::Process qw(program run scratch_dir slurp);
use Test::More;

# ---- the floor ----
my ($key, $other, $value) = ('k' x 20, 'o' x 20, 'v' x 100);
my @requests = ("set $key 0 0 100\r\n$value\r\n", "get $key\r\n", "set $other 0 0 100\r\n$value\r\n", "get $other\r\n");
my $floor = start('floor');
my $hearth = start('hearth', memory => 64, threads => 1);
for my $order ([0, 1], [0, 1, 2, 3, 1, 3, 3]) {
	my $sent = join '', @requests[@$order];
	for my $piece (length $sent, 7, 26) {
		my %got;
		for my $server ($floor, $hearth) {
			my $client = $server->{daemon}->client;
			for (my $at = 0; $at < length $sent; $at += $piece) {
				$client->put(substr $sent, $at, $piece);
				select undef, undef, undef, 0.002 if $piece < length $sent;
			}
			my $answer = grep { $_ & 1 } @$order;
			$got{ $server->{name} } = $client->bytes($answer * (6 + 20 + 8 + 100 + 7) + (@$order - $answer) * 8);
		}
		is($got{floor}, $got{hearth}, "@$order in pieces of $piece: the floor's answers are the daemon's");
	}
}
my $r = load($floor, '--keys', 5000, '--key-size', 20, '--value-size', 100, '--get', 50, '--pipeline', 16, '--requests', 20_000);
is("$r->{requests} $r->{hits} $r->{errors} $r->{wrong} $r->{lost}", "20000 $r->{gets} 0 0 0", 'hearth bench can drive it');
cmp_ok($r->{server_cpu_us_per_request}, '>', 0, 'and knows what it took');
$hearth->stop;
$floor->kill9;
my ($code, $out, $err) = run([program('floor'), '-p', 'x']);
is("$code $err", "64 floor: x: not a number from 1 to 65535\n", 'a port that is none');

# ---- figures ----
is(median(3, 1, 2), 2, 'the median of three');
is(median(4, 1, 3, 2), 2.5, 'and of four');
is(mean(1, 2, 6), 3, 'the mean');
is(ratio(1, 4) . ratio(undef, 4) . ratio(1, 0), '0.25--', 'a ratio, or a dash');

$ENV{HEARTH_BUILD} = scratch_dir();
is(scalar(() = read_table('cpu')), 0, 'a table that is not there is nothing');
my @columns = ('work', qw(floor hearth memcached redis));
my $of = '100 % get, pipeline 16';
write_table('cpu', \@columns, [$of, 0.5, 1.3, 2, undef], ['90 % get, pipeline 1', 9, 10.04, 10, 12]);
my ($table, $rows, $names) = read_table('cpu');
is_deeply($table, { $of => { floor => 0.5, hearth => 1.3, memcached => 2, redis => undef },
	'90 % get, pipeline 1' => { floor => 9, hearth => 10.04, memcached => 10, redis => 12 } }, 'what was written is read');
is_deeply([$rows, $names], [[$of, '90 % get, pipeline 1'], [@columns[1 .. 4]]], 'in its order');

# ---- verdicts ----
write_table('space', ['what', 'hearth', 'redis'], ['overhead', 34.2, 90], ['log', 1.1, 1.2]);
write_table('restart', ['items', 'from the log', 'from a snapshot'], [1000000, 0.2, 0.2], [3000000, 0.59, 0.61], [30000000, 6, 9]);
write_table('tail', ['what', 'p99 over', 'p99.9 over'], ['quiet', 1, 1], ['snapshots without pause', 1.1, 1.3]);
write_table('hits', ['trace', qw(hearth hearth-lru memcached), 'exact LRU', 'Belady'], ['a 10 0 0', 0.2, 0.222, 0.21, 0.22, 0.1],
	['a 30 0 0', 0.31, 0.305, 0.4, 0.3, 0.2]);
write_table('hits-churn', ['trace', qw(hearth memcached), 'exact LRU', 'Belady'], ['a 10 30 50', 0.2, 0.3, 0.4, 0.1]);
my $page = scratch_dir() . '/RESULTS.md';
$ENV{PARTS} = 'none';
run(['t/bench/results', $page]); # without gnuplot it fails, at the end
my %verdict = map { /^\| (.*?) \|.*\| (\S+(?: \w+)?) \|$/ ? ($1 => $2) : () } split /\n/, slurp($page);
my %expected = (
	'us of CPU a request, 100 % get, pipeline 16' => 'met', # 0.65
	'90 % get, pipeline 16' => 'not measured',
	'90 % get, 32 connections, no pipeline' => '**missed**', # 1.004
	'bytes over key and value, 20 + 93 to 107' => '**missed**',
	'seconds to start with 3 million items' => '**missed**', # from the snapshot
	'time an item with more, over that with 3 million' => '**missed**', # from the snapshot
	'p99 while snapshots run, over p99 without' => 'met',
	'p99.9, the same' => '**missed**',
	'log bytes over payload, 130-byte items' => 'met',
	'misses, worst point' => '**missed**', # 0.31 where LRU has 0.3
	'misses, mean, nothing overwritten' => '**missed**', # 0.255 of 0.26
	'misses, mean, 30 % overwritten, half expires' => 'met',
	'misses with --eviction=lru, mean' => 'met', # 0.2635 of 0.26
);
is($verdict{$_}, $expected{$_}, $_) for sort keys %expected;
like(slurp($page), qr/\| 0\.50 \| 1\.30 \| 2\.00 \| +\| 0\.65 or less \| 0\.650 of memcached \|/, 'with the figures of all');
$ENV{PARTS} = 'nothing';
($code, $out, $err) = run(['t/bench/results', $page]);
is($code, 255, 'a part that is none is refused');
like($err, qr/no such part: nothing/, 'and named');
for my $case ([{ TRACES => '/nonexistent/traces' }, qr{TRACES: /nonexistent/traces: no such trace}],
	[{ SERVERS => 'x' }, qr/^SERVERS: x: not NAME=PROGRAM$/], [{ SERVERS => 'x=/nonexistent' }, qr{^SERVERS: /nonexistent: no program$}],
	[{ SERVERS => 'memcached=/bin/sh' }, qr/^SERVERS: memcached: there is a server of that name$/],
	[{ HEARTH_SERVERS => 'hearth,nobody' }, qr/^HEARTH_SERVERS: nobody: no such server; there are floor hearth memcached redis$/]) {
	my ($environment, $message) = @$case;
	local @ENV{ 'PARTS', keys %$environment } = ('none', values %$environment);
	($code, $out, $err) = run(['t/bench/results', $page]);
	isnt($code, 0, join ' ', %$environment, 'is refused');
	like($err, $message, 'and the name is said');
}
# What Hearth, or nobody else, was asked for is no figure, and none that meets a target.
write_table('hits', ['trace', qw(hearth memcached)], ['a 10 0 0', undef, 0.3], ['a 30 0 0', 0.2, undef]);
write_table('hits-churn', ['trace', 'memcached', 'exact LRU', 'Belady'], ['a 10 30 50', 0.3, 0.4, 0.1]);
$ENV{PARTS} = 'none';
run(['t/bench/results', $page]);
%verdict = map { /^\| (.*?) \|.*\| (\S+(?: \w+)?) \|$/ ? ($1 => $2) : () } split /\n/, slurp($page);
is($verdict{$_}, 'not measured', "$_: not measured") for grep { /misses/ } sort keys %expected;
done_testing();
