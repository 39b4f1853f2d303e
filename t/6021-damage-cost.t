#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What one bad place in a large log costs: 50,000 items (a million in make check-long), many of them changed twice, then a
# flipped bit, a zeroed sector of 4 KiB, and both with the key blocks bad that would tell what they cost. All items are
# read back: none may be stale; without a record in the bad blocks none may be missing; and the keys of records in there
# are gone unless a later record says what became of them.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(copy_dir newest);
use Hearth::Process qw(long_run sanitizer program run slurp wait_until);
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
srand $seed;
my $n = long_run() && !sanitizer() ? 1_000_000 : sanitizer() ? 10_000 : 50_000;
my @args = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '-m', $n > 100_000 ? 400 : 64);

# ---- the load: version 1 of all keys, then every third gets another, every seventh is deleted, every eleventh touched ----
my @version = (0) x $n;
sub value { my ($key, $version) = @_; return sprintf '%d:%d:%s', $key, $version, 'v' x (60 + $key % 40); }

my $daemon = Hearth::Daemon->start(args => [@args]);
my $client = $daemon->client;
my $out = '';
my $send = sub { $out .= $_[0]; return if length $out < 60_000 && !$_[1]; $client->put($out); $out = ''; return; };
my $set = sub {
	my ($key) = @_;
	my $value = value($key, ++$version[$key]);
	$send->("set k$key 0 0 " . length($value) . " noreply\r\n$value\r\n");
};
$set->($_) for 0 .. $n - 1;
for my $key (map { int rand $n } 1 .. $n / 2) {
	if ($key % 7 == 0) {
		$send->("delete k$key noreply\r\n");
		$version[$key] = -abs $version[$key]; # deleted: nothing may come back
	} elsif ($key % 11 == 0) {
		$send->("touch k$key 1000000 noreply\r\n");
	} elsif ($key % 3 == 0) {
		$version[$key] = abs $version[$key];
		$set->($key);
	}
}
$send->('', 1);
like($client->ask("version\r\n"), qr/^VERSION/, "$n items are there, seed $seed");
my $dir = $daemon->dir;

# The blocks of a segment: begin, end, count, whether it is a key block or seal.
sub parts
{
	my ($bytes) = @_;
	my ($at, @found) = (256);
	while ($at + 64 <= length $bytes && substr($bytes, $at, 4) eq 'HBK1') {
		my ($stored, $count) = (unpack('V', substr $bytes, $at + 8, 4), unpack('V', substr $bytes, $at + 24, 4));
		my $type = $stored ? ord substr $bytes, $at + 64, 1 : 0;
		push @found, { from => $at, to => $at + 64 + $stored, count => $count, keys => $type == 0xc1 || $type == 0xc2 };
		$at += 64 + $stored;
	}
	return @found;
}
wait_until('a seal', sub { my @p = parts(slurp(newest($dir, 'log'))); return $p[-1]{keys} && $p[-1]{count} == 0 });
$daemon->kill9;
my @logs = grep { parts(slurp($_)) } sort glob "$dir/log-*";
my $log = $logs[@logs / 2];
my $name = $log =~ s{.*/}{}r;
my $bytes = slurp($log);
my @parts = parts($bytes);
my $total = 0;
$total += -s for @logs;

# What each record of the log changes, by number: key and whether the item is known behind it.
my (%last_known, @record);
{
	open my $dump, '-|', program('hearth'), 'dump', $dir or die;
	while (<$dump>) {
		my ($file, $offset, $seq, $op, $key) = /^([^:]+):(\d+) (\d+) (set|delete|touch) k(\d+)/ or next;
		$last_known{$key} = $seq if $op ne 'touch';
		push @record, [$offset, $seq, $key] if $file eq $name;
	}
	close $dump;
}

# key => version of what is served; '?' for what no client ever wrote.
sub found
{
	my ($c) = @_;
	my %found;
	for (my $from = 0; $from < $n; $from += 500) {
		my $to = $from + 499 < $n ? $from + 499 : $n - 1;
		my $items = $c->items('get ' . join ' ', map { "k$_" } $from .. $to);
		for my $k (keys %$items) {
			my ($key) = $k =~ /^k(\d+)$/;
			my ($version) = $items->{$k}{value} =~ /^$key:(\d+):/;
			$found{$key} = defined $version && $items->{$k}{value} eq value($key, $version) ? $version : '?';
		}
	}
	return \%found;
}

# What hearth check says, an object a line.
sub check
{
	my ($copy) = @_;
	my ($code, $text, $err) = run([program('hearth'), 'check', '--json', $copy], seconds => 300);
	is($code, 2, 'check finds damage');
	return map { decode_json($_) } split /\n/, $text;
}

# Starts on what a copy has become, and judges all items. $bad: the blocks that are.
sub judge
{
	my ($what, $copy, $all, @bad) = @_;
	my (%hit, $end);
	for my $r (@record) {
		next unless grep { $_->{from} <= $r->[0] && $r->[0] < $_->{to} } @bad;
		$hit{ $r->[2] } = 1;
		$end = $r->[1];
	}
	my @said = check($copy);
	my ($loss) = grep { ($_->{loss} // '') =~ /^(?:keys|older)$/ && $_->{path} =~ /\Q$name\E$/ } @said;
	is($said[-1]{start_loses}, $all ? 'changes' : 'keys', "$what: check says what a start loses");
	is($loss->{loss}, $all ? 'older' : 'keys', "$what: at this place") or diag explain \@said;
	is($loss->{keys}, $all ? undef : scalar(keys %hit), "$what: and how many keys");
	my $begin = time;
	my $d = Hearth::Daemon->start(dir => $copy, args => [@args]);
	my $took = time - $begin;
	my $found = found($d->client);
	my ($stale, $gone, $innocent, $kept) = (0, 0, 0, 0);
	for my $key (0 .. $n - 1) {
		my $wanted = $version[$key];
		my $is = $found->{$key};
		if (defined $is) {
			$stale++ if $is ne $wanted;
			$kept++ if $hit{$key} && $last_known{$key} <= $end;
		} elsif ($wanted > 0) {
			$gone++;
			$innocent++ unless $hit{$key};
		}
	}
	my $stats = $d->client->stats('persist');
	is($stale, 0, "$what: nothing is stale, seed $seed");
	is($kept, 0, "$what: nothing that the bad blocks may have changed");
	is($innocent, 0, "$what: no other key is missing") unless $all;
	cmp_ok($gone, $all ? '>' : '<', $all ? $n / 10 : 2000, "$what: $gone of $n keys are gone");
	cmp_ok($stats->{recovery_damaged} // 1, '>', 0, "$what: it is told");
	note sprintf '%s: %d of %d keys gone, %d records in the bad blocks, %d MB of log, up in %.2f s', $what, $gone, $n,
	    scalar(keys %hit), $total >> 20, $took;
	$d->kill9;
	run(['rm', '-rf', $copy]);
	return;
}

# A block of records, with key blocks before and behind, somewhere in the middle.
my @records = grep { $parts[$_]{count} && $_ > @parts / 4 && $_ < @parts / 2 } 0 .. $#parts;
my $at = $records[rand @records];
my $victim = $parts[$at];
my $spoil = sub { my ($data, $from, $with) = @_; substr $$data, $from, length $with, $with; };
my $write = sub {
	my ($data) = @_;
	my $copy = copy_dir($dir);
	Hearth::Process::spew("$copy/$name", $data);
	return $copy;
};

my $byte = int($victim->{from} + rand($victim->{to} - $victim->{from}));
my $data = $bytes;
$spoil->(\$data, $byte, chr(ord(substr $bytes, $byte, 1) ^ 1 << int rand 8));
my $flipped = $data;
judge('one flipped bit', $write->($data), 0, $victim);

my $sector = $byte & ~4095;
$data = $bytes;
$spoil->(\$data, $sector, "\0" x 4096);
judge('one zeroed sector', $write->($data), 0, grep { $_->{from} < $sector + 4096 && $_->{to} > $sector } @parts);

# Without what would tell: all that is older goes.
my @telling = grep { $_->{keys} && $_->{from} > $victim->{from} } @parts;
$data = $flipped;
$spoil->(\$data, $_->{from} + 66, "\xff\xff") for @telling;
judge('a flipped bit and bad key blocks', $write->($data), 1, $victim);

# All key blocks, and nothing else; the last one could be a write that was cut off.
$data = $bytes;
$spoil->(\$data, $_->{from} + 66, "\xff\xff") for grep { $_->{keys} && $_->{to} < $parts[-1]{to} } @parts;
my $copy = $write->($data);
is((check($copy))[-1]{start_loses}, 'nothing', 'check says that bad key blocks alone cost nothing');
my $d = Hearth::Daemon->start(dir => $copy, args => [@args]);
my $found = found($d->client);
is(scalar(grep { $version[$_] > 0 ? ($found->{$_} // 0) ne $version[$_] : exists $found->{$_} } 0 .. $n - 1), 0,
	'bad key blocks alone cost nothing');
$d->kill9;
done_testing();
