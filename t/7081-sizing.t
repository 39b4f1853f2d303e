#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth-sizing(7) says how many items fit, and how much memory and disk it takes: a full daemon under changes stays below each.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run slurp wait_until);
use Test::More;

plan skip_all => 'a sanitizer takes memory of its own' if $ENV{HEARTH_SANITIZER};
my ($mib, $key, $value) = (64, 20, 100);
my $page = slurp('man/hearth-sizing.7');

# A figure of the page.
sub said
{
	my ($what) = @_;
	my ($n) = $page =~ $what or die "the page does not say $what\n";
	return $n;
}

# MiB: VmRSS, or VmHWM, the most it has ever been.
sub rss { my ($daemon, $which) = @_; return (slurp('/proc/' . $daemon->pid . '/status') =~ /^\Q$which\E:\s+(\d+)/m)[0] / 1024; }
sub disk
{
	my ($daemon) = @_;
	my $blocks = 0;
	$blocks += (lstat)[12] // 0 for glob $daemon->dir . '/*';
	return $blocks / 2048;
}

my $overhead = said(qr/^items = m \/ \(key \+ value \+ (\d+)\)/m);
my $program = said(qr/^(\d+) MiB for the program/m);
my $ring = $mib / 8;

my $daemon = Hearth::Daemon->start(args => ['-m', $mib, '-t', 4, '-c', 2000, '--snapshot-rate', 0]);
cmp_ok(rss($daemon, 'VmRSS'), '<', $program + $ring, 'an empty one takes no more than the program');
my @load = (program('hearth'), 'bench', '--server', '127.0.0.1:' . $daemon->port, '--get', 0, '--key-size', $key, '--value-size', $value,
	'--pipeline', 16, '--keys', 4_000_000, '--connections', 8);
my ($most, $snapshots) = (0, 0);
for my $seed (1 .. 6) {
	my ($code, undef, $err) = run([@load, '--seed', $seed, '--requests', 400_000], seconds => 120);
	is($code, 0, "load $seed") or diag $err;
	$most = disk($daemon) if disk($daemon) > $most;
}
my $stats = $daemon->client->stats;
cmp_ok($stats->{evictions}, '>', 0, 'memory is full');
cmp_ok($stats->{curr_items}, '>=', ($mib << 20) / ($key + $value + $overhead), 'as many items fit as the page says');
cmp_ok($daemon->client->stats('persist')->{snapshots}, '>', 0, 'snapshots were taken');
my $storm = said(qr/at most (\d+) MiB and one value/);
cmp_ok(rss($daemon, 'VmHWM'), '<', $mib + $ring + $program + $storm + 1, 'memory was never more than the page says');
wait_until('the last snapshot', sub { $daemon->client->stats('persist')->{snapshot_running} eq 'no' });
my $full = rss($daemon, 'VmRSS');
cmp_ok($full, '<', $mib + $ring + $program + 1, 'and what snapshots took is given back');
cmp_ok($most, '<', 4 * $mib + said(qr/^Four times\n\.Fl m\nand (\d+) MiB are enough/m), 'disk is what the page says');

my @silent = map { $daemon->client } 1 .. 1000;
cmp_ok(rss($daemon, 'VmRSS') - $full, '<', 1.5 * @silent / 1024, 'a silent connection costs what the page says');
is($daemon->stop, 0, 'stops in order');
done_testing();
