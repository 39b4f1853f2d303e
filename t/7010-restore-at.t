#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth restore --at and --seq: a directory as it was at a moment, live or not, held against a model of every moment;
# and what cannot be reached, with what can.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(blocks copy_dir flip newest);
use Hearth::Process qw(program run scratch_dir slurp tree_digest long_run);
use JSON::PP;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
srand $seed;
note "seed $seed";
my @still = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '-m', 16);
my @keys = map { "k$_" } 1 .. 10;

sub hearth { my (@args) = @_; return run([program('hearth'), @args]); }
sub text { my ($state) = @_; return join ' ', map { "$_=$state->{$_}" } sort keys %$state; }

# What a daemon on a directory serves, and the number that its next change gets.
sub served
{
	my ($dir, $keep_on) = @_;
	my $daemon = Hearth::Daemon->start(dir => $dir, args => [@still]);
	my $c = $daemon->client;
	my $items = $c->items("get @keys");
	$c->set('next', 1);
	my $next = $c->gets('next')->{cas};
	return ($daemon, $items) if $keep_on;
	$daemon->kill9;
	return (text({ map { $_ => $items->{$_}{value} } keys %$items }), $next);
}

my $n_made = 0;
my $made = scratch_dir();
sub restore { my (@args) = @_; my $to = "$made/" . ++$n_made; my ($code, $out, $err) = hearth('restore', @args, '--to', $to); return ($code, $out, $err, $to); }

# The state behind each number.
my @states = ({});
my $state = {};
sub passed { push @states, {%$state}; return; }

sub play
{
	my ($c, $rounds) = @_;
	for my $n (1 .. $rounds) {
		my $key = $keys[rand @keys];
		my $kind = rand;
		if ($kind < 0.45) {
			$state->{$key} = @states . ":$key:" . 'v' x rand 50;
			$c->set($key, $state->{$key}) eq 'STORED' or die;
			passed();
		} elsif ($kind < 0.65) { # one turn: a block of several records
			my $batch = '';
			for my $k (@keys[0 .. 4]) {
				my $value = @states . ":$k";
				$batch .= "set $k 0 0 " . length($value) . " noreply\r\n$value\r\n";
				$state->{$k} = $value;
				passed();
			}
			$c->ask($batch . "version\r\n");
		} elsif ($kind < 0.8) {
			$c->ask("delete $key\r\n");
			delete $state->{$key};
			passed();
		} elsif ($kind < 0.95) {
			$c->store('append', $key, '+');
			$state->{$key} .= '+' if exists $state->{$key};
			passed();
		} else {
			$c->ask("flush_all\r\n");
			%$state = ();
			passed();
		}
	}
	return;
}

# ---- every moment of a live directory ----
my $daemon = Hearth::Daemon->start(args => [@still, '--keep', 3]);
my $dir = $daemon->dir;
my $c = $daemon->client;
my (@moments, @ends);
for my $round (1 .. 3) {
	play($c, 25);
	sleep 0.06;
	push @moments, [time, $#states];
	sleep 1.1; # packed segments tell seconds apart
	play($c, 5);
	push @ends, $#states;
	is((hearth('snapshot', $dir))[0], 0, "snapshot $round");
}
play($c, 20);
my $high = $#states;
sleep 2.2; # an idle second is followed by a seal
my $before = tree_digest($dir);
my @wanted = long_run() ? $ends[0] .. $#states : ($ends[0] + 1, $ends[1] - 1, $ends[1], $#states, map { $ends[0] + int rand($#states - $ends[0]) } 1 .. 12);
my @wrong;
for my $n (@wanted) {
	my ($code, $out, $err, $to) = restore($dir, '--seq', $n);
	push(@wrong, "$n: $code $err"), next if $code;
	push @wrong, "$n: no summary: $out" unless $out =~ /as of number $n, \d{4}-/;
	my ($found, $next) = served($to);
	push @wrong, "$n: holds $found, not " . text($states[$n]) if $found ne text($states[$n]);
	push @wrong, "$n: number $next comes again" if $next <= $high;
	run(['rm', '-rf', $to]);
}
is(join("\n", @wrong), '', scalar(@wanted) . " moments by number, seed $seed");
@wrong = ();
shift @moments; # before the oldest snapshot
for my $moment (@moments) {
	my ($t, $n) = @$moment;
	my $ms = int($t * 1000) % 1000;
	for my $form (sprintf('@%.3f', $t), sprintf('%s.%03dZ', strftime('%Y-%m-%dT%H:%M:%S', gmtime $t), $ms), sprintf('%s.%03d', strftime('%Y-%m-%d %H:%M:%S', localtime $t), $ms)) {
		my ($code, $out, $err, $to) = restore($dir, '--at', $form, '--json');
		push(@wrong, "$form: $code $err"), next if $code;
		my $summary = decode_json($out);
		push @wrong, "$form: number $summary->{seq}, not $n" if $summary->{seq} != $n;
		my ($found) = served($to);
		push @wrong, "$form: holds $found, not " . text($states[$n]) if $found ne text($states[$n]);
		run(['rm', '-rf', $to]);
	}
}
is(join("\n", @wrong), '', 'moments by time, in each form');
is(tree_digest($dir), $before, 'the directory stays as it was');
my ($code, $out, $err, $to) = restore($dir, '--at', '0 seconds ago');
is($code, 0, 'now') or diag $err;
is((served($to))[0], text($state), 'is what is there');
like($err, qr/nothing was changed behind number $#states/, 'and it says that nothing came behind');

# ---- what cannot be reached ----
for (['--seq', $#states + 1, qr/does not go that far/], ['--at', '2001-01-01 00:00', qr/older than what is kept/]) {
	my ($option, $value, $why) = @$_;
	($code, $out, $err, $to) = restore($dir, $option, $value);
	is($code, 65, "$option $value");
	like($err, $why, 'says why');
	like($err, qr/can be restored: numbers $ends[0] to $#states, \d{4}-\S+Z to \d{4}-\S+Z/, 'and what can be');
	ok(!-e $to, 'and makes nothing');
}
for (['--at', 'yesterday'], ['--at', '2026-02-31 00:00'], ['--seq', 'x'], ['--seq', 1, '--at', '@1'], ['--shift-ttl']) {
	is((restore($dir, @$_))[0], 64, "usage: @$_");
}
is((restore(newest($dir, 'snapshot'), '--seq', 3))[0], 64, 'a snapshot alone has one moment');
is($daemon->stop, 0, 'stops in order');

# With one snapshot kept, its older log goes.
$daemon->up(args => [@still, '--keep', 1]);
$c = $daemon->client;
is((hearth('snapshot', $dir))[0], 0, 'a snapshot that retires the others');
my ($start) = map { $_->{start} } grep { ($_->{kind} // '') eq 'snapshot' } map { decode_json($_) } split /\n/, (hearth('check', '--json', $dir))[1];
play($c, 10);
($code, $out, $err, $to) = restore($dir, '--seq', 3);
is($code, 65, 'a moment before it');
like($err, qr/older than what is kept|no snapshot of before it/, 'says why');
like($err, qr/can be restored: numbers $start to /, "and that $start is the first");
is((restore($dir, '--seq', $start))[0], 0, 'which it is');

# ---- damage ----
$daemon->kill9;
my $log = newest($dir, 'log') =~ s{.*/}{}r;
my $copy = copy_dir($dir);
my @blocks = grep { $_->[2] } blocks(slurp("$dir/$log")); # those with changes
flip("$copy/$log", $blocks[4][0] + 65, 2);
my ($from) = map { unpack 'Q<', substr slurp("$dir/$log"), $_ + 16, 8 } $blocks[4][0];
($code, $out, $err, $to) = restore($copy, '--seq', $from);
is($code, 65, 'a moment in a hole');
like($err, qr/it lies in a hole of the log/, 'says so');
like($err, qr/can be restored: numbers \d+ to @{[$from - 1]}, /, 'and what lies before it');
like($err, qr/in part: numbers @{[$from + $blocks[4][2]]} to /, 'and behind it');
($code, $out, $err, $to) = restore($copy, '--seq', $from - 1);
is($code, 0, 'the moment before the hole') or diag $err;
($code, $out, $err, $to) = restore($copy, '--seq', $from + $blocks[4][2]);
is($code, 0, 'a moment behind it') or diag $err;
like($out, qr/left out/, 'says what is not there');

# ---- times to live, and flushes to come ----
$daemon = Hearth::Daemon->start(args => [@still]);
$c = $daemon->client;
$c->set('k1', 'for ever');
$c->set('k2', 'short', exptime => 3);
$c->set('k3', 'long', exptime => 1000);
$c->set('k4', 'touched');
$c->ask("touch k4 3\r\n");
my $seq = 5;
my $asked = int time;
$c->ask("flush_all 4\r\n");
sleep 5;
$c->set('k5', 'behind');
is($c->get('k1'), undef, 'flushed');
($code, $out, $err, $to) = restore($daemon->dir, '--seq', $seq);
is($code, 0, 'restore') or diag $err;
is((served($to))[0], 'k1=for ever k3=long', 'expiries stay: what has expired since is gone');
($code, $out, $err, $to) = restore($daemon->dir, '--seq', $seq, '--shift-ttl');
is($code, 0, 'restore --shift-ttl') or diag $err;
my %exp = map { $_->{key} => $_->{exp} } grep { $_->{key} } map { decode_json($_) } split /\n/, (hearth('dump', '--json', $to))[1];
ok($exp{k2} > time - 1 && $exp{k2} <= time + 3, "an item lives on for what was left to it") or diag "$exp{k2} at " . time;
ok($exp{k3} > $asked + 1000 + 3 && $exp{k3} <= time + 1000, 'each by as much');
is($exp{k1}, 0, 'never stays never');
like((served($to))[0], qr/k1=for ever k2=short k3=long k4=touched/, 'all of them are there');
($code, $out, $err, $to) = restore($daemon->dir, '--seq', $seq + 1);
is($code, 0, 'with a flush pending') or diag $err;
like($err, qr/flush_all was pending, due at .*fallen due since/, 'it is told');
is((served($to))[0], '', 'and applied');
($code, $out, $err, $to) = restore($daemon->dir, '--seq', $seq + 1, '--shift-ttl');
my ($late, $items) = served($to, 1);
is($items->{k1}{value}, 'for ever', '--shift-ttl shifts it too');
sleep 5;
is($late->client->get('k1'), undef, 'and it fires');
is($late->stop, 0, 'stops in order');
is($daemon->stop, 0, 'stops in order');

# ---- while a daemon writes, and retires files ----
$daemon = Hearth::Daemon->start(args => [@still, '--keep', 1]);
my $writer = $daemon->writer(300);
sleep 0.5;
@wrong = ();
my $tries = long_run() ? 60 : 8;
for (1 .. $tries) {
	sleep 0.1;
	my $now = $daemon->client->gets('k1');
	($code, $out, $err, $to) = restore($daemon->dir, '--seq', $now->{cas} + 1);
	next if $code == 65; # behind the log's end as yet, or retired by a snapshot in between
	push(@wrong, "$code $err"), next if $code;
	my ($found) = served($to);
	my ($a, $b) = $found =~ /k1=(\d+) k2=(\d+)/;
	push @wrong, "k1 $a, k2 $b, not $now->{value}" unless $a == $now->{value} && ($b == $a || $b == $a - 1);
	run(['rm', '-rf', $to]);
}
is(join("\n", @wrong), '', "$tries moments of a directory that changes");
kill 'KILL', $writer;
waitpid $writer, 0;
is($daemon->kill9, 137, 'killed');
done_testing();
