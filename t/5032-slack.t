#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# How much of -m is lost: four clients overwrite with other sizes, delete, and let expire, several times as much as -m, then
# one size fills it, another, and sizes change once more. At each stage what lives, by what this test knows of its sizes and
# what src/README.md says an item takes beside them, is more than 90 % of -m; and the process keeps to -m and the constant.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(long_run sanitizer slurp);
use Test::More;

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
my $mib = 1024 * 1024;
my $m = 64;
my ($smallest, $largest) = (30, 20_000);
my $rounds = long_run() ? 40 : sanitizer() ? 2 : 3;
my $least = sanitizer() ? 85 : 90; # percent; the evictor is the slower one under a sanitizer
my ($overhead, $expiry) = (32, 8); # header, rounding, index and ghosts; an expiry
# MiB: the ring, an eighth of -m; log and connections; the program; what a snapshot may hold. Short runs go without: its
# memory would hide what else is too much.
my $constant = 8 + 4 + 8 + (long_run() ? 64 : 0);
my @snapshots = long_run() ? () : ('--snapshot-log-ratio', 0, '--snapshot-interval', 0);
my $keys = $m * 1024;
srand $seed;

my $daemon = Hearth::Daemon->start(args => ['-m', $m, '--fsync', 'os', @snapshots]);
my @client = map { $daemon->client } 1 .. 4;
my $bytes = join '', map { chr 97 + rand 26 } 1 .. $largest;
my (%size, $fresh);
$fresh = 0;

# Sends what a command makes, in turns over the clients, until so many bytes of values were stored; all of it has been done
# then.
sub send_all
{
	my ($total, $command) = @_;
	my $sent = 0;
	for (my $turn = 0; $sent < $total; $turn++) {
		my $batch = '';
		while (length $batch < 200_000) {
			my ($text, $stored) = $command->();
			$batch .= $text;
			$sent += $stored;
		}
		# One client has a worker's ear at a time, so that what is known of a key is its last change.
		$client[$turn % @client]->ask("${batch}mn\r\n") eq 'MN' or die 'no answer';
	}
	return;
}

sub set
{
	my ($key, $length, $ttl) = @_;
	$size{$key} = $length;
	return ("set $key 0 $ttl $length noreply\r\n" . substr($bytes, 0, $length) . "\r\n", $length);
}

# One change in four deletes; of the others, which overwrite what may be there, one in three is to expire soon.
sub churn
{
	my $kind = int rand 4;
	my $key = 'key-' . int rand $keys;
	return ("delete $key noreply\r\n", 0) if $kind == 3;
	return set($key, int($smallest * ($largest / $smallest)**rand), $kind == 2 ? 2 + int rand 20 : 0);
}

# Percent of -m that lives, and the count.
sub living
{
	my ($used, $items) = (0, 0);
	for my $line (split /\r?\n/, $daemon->client->stream("lru_crawler metadump all\r\n")) {
		my ($key, $exp) = $line =~ /^key=(\S+) exp=(-?\d+)/ or next;
		$used += length($key) + $size{$key} + $overhead + ($exp > 0 ? $expiry : 0);
		$items++;
	}
	return (100 * $used / $m / $mib, $items);
}

sub look
{
	my ($what) = @_;
	my ($percent, $items) = living();
	my ($rss) = slurp('/proc/' . $daemon->pid . '/status') =~ /^VmRSS:\s+(\d+)/m;
	cmp_ok($percent, '>', $least, sprintf '%s: %d items, %.1f %% of -m', $what, $items, $percent);
	cmp_ok($rss / 1024, '<=', $m + $constant, sprintf '%s: %.1f MiB are resident', $what, $rss / 1024) unless sanitizer();
	return;
}

sub fill
{
	my ($length) = @_;
	send_all(1.2 * $m * $mib, sub { set('fresh-' . $fresh++, $length, 0) });
	look("filled with values of $length");
	return;
}

sub change_sizes
{
	my ($times) = @_;
	for my $round (1 .. $times) {
		send_all($m * $mib, \&churn);
		look("sizes change, round $round") if $round % 4 == 0 || $round == $times;
	}
	return;
}

# Small ones first: the index is as large as it ever gets.
send_all($m * $mib / 2, sub { set('fresh-' . $fresh++, $smallest, 0) });
change_sizes($rounds);
fill(1000);
change_sizes(int($rounds / 2) || 1);
fill($largest);
send_all($m * $mib / 2, sub { set('fresh-' . $fresh++, $smallest, 0) });
look('filled with the smallest');
fill($largest);
cmp_ok($client[0]->stats->{evictions}, '>', 1000, "evictions; seed $seed");
is($daemon->stop, 0, 'stops in order');
done_testing();
