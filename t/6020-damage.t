#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A flipped bit and a cut at any offset of a small log, snapshot or manifest: the daemon always starts, and never serves
# a wrong value or an older one. Some offsets here, in make check-long
# all of them, or the part that CHECK_MINUTES is of an hour. What must hold afterwards:
#  - a cut, or a bit in the last block of the log: exactly the state before the first record that is gone, since a
#    crash could have left the same;
#  - a bit elsewhere: the damage is named, and a copy lies in set-aside/. With a seal at the end, as after an idle second,
#    exactly the key that the bad record changed is gone, unless it was set later; without one each key has its last
#    value or none.
# --strict refuses what is damaged, with 65, and changes nothing.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(blocks copy_dir flip cut newest);
use Hearth::Process qw(long_run sanitizer slurp program run tree_digest wait_until);
use Test::More;

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
srand $seed;
my $hour = ($ENV{CHECK_MINUTES} // 60) / 60;
my $share = long_run() ? ($hour < 1 ? $hour : 1) : sanitizer() ? 0.003 : 0.01; # of all places
my @still = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '-m', 16);

# Commands, one block of the log each; after each of them, the state. Which key each one changed ('' = all of them), and
# whether its state then was known from this record alone, is in @changed.
my @keys = map { "k$_" } 1 .. 12;
my @changed;

sub play
{
	my ($daemon, $state, $rounds, $tag) = @_;
	my $c = $daemon->client;
	my @states = ({%$state});
	for my $n (1 .. $rounds) {
		my $key = $keys[rand @keys];
		my $kind = rand;
		if ($kind < 0.6) {
			my $value = "$tag$n:$key:" . 'v' x rand 60;
			$c->set($key, $value) eq 'STORED' or die;
			$state->{$key} = $value;
			push @changed, [$key, 1];
		} elsif ($kind < 0.8) {
			$c->ask("delete $key\r\n");
			delete $state->{$key};
			push @changed, [$key, 1];
		} elsif ($kind < 0.9) {
			$c->store('append', $key, "+$tag$n");
			$state->{$key} .= "+$tag$n" if exists $state->{$key};
			push @changed, [$key, 1];
		} elsif ($kind < 0.94 && $n < $rounds / 2) {
			$c->ask("flush_all\r\n");
			%$state = ();
			push @changed, ['', 1];
		} else {
			$c->ask("touch $key 100000\r\n");
			next unless exists $state->{$key}; # a touch that misses leaves no record
			push @changed, [$key, 0];
		}
		push @states, {%$state};
	}
	return @states;
}

sub items { my ($daemon) = @_; my $i = $daemon->client->items("get @keys"); return { map { $_ => $i->{$_}{value} } keys %$i }; }
sub text { my ($state) = @_; return join ' ', map { "$_=$state->{$_}" } sort keys %$state; }

# Every key that was found has the state's value.
sub within
{
	my ($found, $state) = @_;
	return !grep { !defined $state->{$_} || $found->{$_} ne $state->{$_} } keys %$found;
}

# The state without what the changes from..to (counted from 0) may have changed.
sub without
{
	my ($state, $from, $to) = @_;
	my %left = %$state;
	my @lost = map { $_->[0] } @changed[$from .. $to];
	for my $key ((grep { $_ eq '' } @lost) ? @keys : @lost) {
		delete $left{$key} unless grep { $_->[1] && ($_->[0] eq $key || $_->[0] eq '') } @changed[$to + 1 .. $#changed];
	}
	return \%left;
}

# Starts on a damaged copy and returns what is served there: the state, messages; twice, the second time after a kill.
sub starts
{
	my ($dir, $twice) = @_;
	my $daemon = eval { Hearth::Daemon->start(dir => $dir, args => [@still]) } or return (undef, $@);
	my $found = items($daemon);
	my $messages = $daemon->errors;
	if ($twice) {
		$daemon->crash;
		my $again = items($daemon);
		return (undef, 'another state the second time: ' . text($found) . ' / ' . text($again)) if text($found) ne text($again);
	}
	$daemon->client->set('k1', 'writes') eq 'STORED' or return (undef, 'it does not write');
	$daemon->kill9;
	return ($found, $messages);
}

# Places to try: all of them, or a share, but always the first and the last.
sub places
{
	my ($n) = @_;
	return 0 .. $n - 1 if $share == 1;
	my %p = map { $_ => 1 } 0, $n - 1, map { int rand $n } 1 .. 4 + $n * $share;
	return sort { $a <=> $b } keys %p;
}

# Damages a file of a copy at each place; $judge returns what is wrong with what was found there.
sub try
{
	my ($dir, $name, $what, $n, $damage, $judge) = @_;
	my ($cases, @wrong) = (0);
	for my $place (places($n)) {
		my $copy = copy_dir($dir);
		$damage->("$copy/$name", $place);
		my ($found, $messages) = starts($copy, rand() < 0.1);
		my $wrong = defined $found ? $judge->($place, $found, $messages, $copy) : "does not start: $messages";
		push @wrong, "$what at $place: $wrong" if $wrong;
		last if @wrong > 5;
		$cases++;
		run(['rm', '-rf', $copy]);
	}
	is(join("\n", @wrong), '', "$what: $cases cases, seed $seed");
	return;
}

# ---- the log ----
my $daemon = Hearth::Daemon->start(args => [@still]);
my $state = {};
my @states = play($daemon, $state, 60, 'a');
my $dir = $daemon->dir;
my $unsealed = copy_dir($dir);
my $log = newest($dir, 'log') =~ s{.*/}{}r;
wait_until('a seal', sub { my @b = blocks(slurp("$dir/$log")); return $b[-1][2] == 0 });
$daemon->kill9;
my $bytes = slurp("$dir/$log");
my @all = blocks($bytes);
my @blocks = grep { $_->[2] } @all;
my $records = 0;
$records += $_->[2] for @blocks;
cmp_ok(scalar @blocks, '>=', 40, scalar(@blocks) . " blocks in $log, " . length($bytes) . ' bytes');
is($records, $#states, 'one record a change');
my $end = $all[-1][1];

# How many records end at or before an offset.
sub kept { my ($offset) = @_; my $n = 0; $n += $_->[2] for grep { $_->[1] <= $offset } @blocks; return $n; }

my $to_prefix = sub {
	my ($place, $found, $messages) = @_;
	my $wanted = text($states[kept($place)]);
	return text($found) eq $wanted ? '' : 'holds ' . text($found) . ", expected $wanted; $messages";
};
my $to_last = sub {
	my ($place, $found, $messages, $copy) = @_;
	return within($found, $state) ? '' : 'holds ' . text($found) . ', of ' . text($state) . "; $messages";
};
try($dir, $log, 'log cut', $end + 1, \&cut, $to_prefix);
my $flip = sub { my ($file, $bit) = @_; flip($file, $bit >> 3, $bit & 7); };
my $named = sub {
	my ($messages, $copy) = @_;
	return "said nothing: $messages" unless $messages =~ /log-\d+/;
	my @aside = glob "$copy/set-aside/*";
	return @aside ? '' : "set nothing aside: $messages";
};
$share *= 0.75;
try($dir, $log, 'log with a seal, bit flipped', $end * 8, $flip, sub {
	my ($bit, $found, $messages, $copy) = @_;
	my $byte = $bit >> 3;
	my ($bad) = grep { $blocks[$_][0] <= $byte && $byte < $blocks[$_][1] } 0 .. $#blocks;
	my $wanted = text($state);
	if (defined $bad) {
		my $from = kept($blocks[$bad][0]);
		$wanted = text(without($state, $from, $from + $blocks[$bad][2] - 1));
	}
	return 'holds ' . text($found) . ", expected $wanted; $messages" if text($found) ne $wanted;
	return defined $bad || $byte < $blocks[0][0] ? $named->($messages, $copy) : '';
});
my $short = slurp("$unsealed/$log");
my @short = blocks($short);
$share /= 3;
try($unsealed, $log, 'log without seal, bit flipped', $short[-1][1] * 8, $flip, sub {
	my ($bit, $found, $messages, $copy) = @_;
	my $byte = $bit >> 3;
	return $to_prefix->($byte, $found, $messages) if $byte >= $short[-1][0];
	return $to_last->($byte, $found, $messages, $copy) || $named->($messages, $copy);
});
$share *= 4;

# Zeros and noise behind the end, and a block once more.
for my $tail (["\0" x 4096, 'zeros'], [join('', map { chr int rand 256 } 1 .. 3000), 'noise'],
    [substr($bytes, $blocks[-1][0], $end - $blocks[-1][0]), 'the last block again'],
    [substr($bytes, $blocks[3][0], $end - $blocks[3][0]), 'old blocks again']) {
	my $copy = copy_dir($dir);
	Hearth::Process::spew("$copy/$log", substr($bytes, 0, $end) . $tail->[0]);
	my ($found, $messages) = starts($copy, 1);
	# What looks like damage may cost keys; it may not bring anything back.
	ok($found && within($found, $state), "behind the end: $tail->[1]") or diag $messages;
	is(text($found), text($state), "behind the end: $tail->[1], everything is there") if $tail->[1] eq 'zeros';
}

# --strict.
my $copy = copy_dir($dir);
flip("$copy/$log", $blocks[5][0] + 65, 3);
my $before = tree_digest($copy);
my ($code, $err) = Hearth::Daemon->refused('--data-dir', $copy, '--strict');
is($code, 65, '--strict refuses a damaged log');
like($err, qr/$log.*\b$blocks[5][0]\b/, 'and names file and offset');
is(tree_digest($copy), $before, 'and changes nothing');
my ($check) = run([program('hearth'), 'check', $copy]);
is($check, 2, 'hearth check: 2');
$copy = copy_dir($dir);
cut("$copy/$log", $blocks[-1][1] - 3);
($check) = run([program('hearth'), 'check', $copy]);
is($check, 1, 'hearth check of a torn tail: 1');
my $strict = Hearth::Daemon->start(dir => $copy, args => [@still, '--strict']);
is(text(items($strict)), text($states[-2]), '--strict starts behind a torn tail');
is($strict->stop, 0, 'stops in order');

# ---- a snapshot, and a log behind it ----
$daemon->up(args => [@still]);
is(text(items($daemon)), text($state), 'all of it is there again');
run([program('hearth'), 'snapshot', $daemon->dir]);
my %in_snapshot = %$state;
my @behind = play($daemon, $state, 15, 'b');
$daemon->kill9;
my $snapshot = newest($dir, 'snapshot') =~ s{.*/}{}r;
my $size = -s "$dir/$snapshot";
try($dir, $snapshot, 'snapshot cut', $size, \&cut, $to_last);
try($dir, $snapshot, 'snapshot, bit flipped', $size * 8, sub { flip($_[0], $_[1] >> 3, $_[1] & 7) }, $to_last);
$copy = copy_dir($dir);
flip("$copy/$snapshot", $size / 2, 1);
$before = tree_digest($copy);
($code, $err) = Hearth::Daemon->refused('--data-dir', $copy, '--strict');
is($code, 65, '--strict refuses a damaged snapshot');
like($err, qr/$snapshot/, 'and names it');
is(tree_digest($copy), $before, 'and changes nothing');
$copy = copy_dir($dir);
unlink "$copy/$snapshot";
my ($found, $messages) = starts($copy, 1);
ok($found && within($found, $state), 'without its snapshot: nothing wrong') or diag $messages;
like($messages, qr/$snapshot/, 'and it is named');

# ---- the manifest ----
$size = -s "$dir/MANIFEST";
try($dir, 'MANIFEST', 'manifest cut', $size, \&cut, $to_last);
try($dir, 'MANIFEST', 'manifest, bit flipped', $size * 8, sub { flip($_[0], $_[1] >> 3, $_[1] & 7) }, sub {
	my ($bit, $found, $messages) = @_;
	return text($found) eq text($state) ? '' : 'one good copy is enough, but it holds ' . text($found) . "; $messages";
});
$copy = copy_dir($dir);
unlink "$copy/MANIFEST";
($found, $messages) = starts($copy, 1);
ok($found && within($found, $state), 'without a manifest: nothing wrong') or diag $messages;
like($messages, qr/MANIFEST|manifest/, 'and it says so');
done_testing();
