#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Snapshots: on a signal, on request, at an interval, when the log has grown; while writers write. zstd -t passes, older
# files go, a kill right behind or in the middle of one loses nothing.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Load;
use Hearth::Process qw(program run long_run wait_until);
use Test::More;

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
my $daemon = Hearth::Daemon->start(args => ['-m', 256, '--snapshot-interval', 0, '--snapshot-log-ratio', 0]);
my $load = Hearth::Load->new(daemon => $daemon, seed => $seed, keys => 400);
my $dir = $daemon->dir;

sub snapshots { return sort glob "$dir/snapshot-*"; }
sub logs { return sort glob "$dir/log-*"; }

# Waits, under load, until there is a snapshot that was not there before.
sub new_snapshot
{
	my ($what) = @_;
	my %before = map { $_ => 1 } snapshots();
	return sub {
		wait_until("a snapshot: $what", sub { $load->run(0.02); grep { !$before{$_} && !/\.tmp$/ } snapshots() }, 60);
		my ($new) = grep { !$before{$_} && !/\.tmp$/ } snapshots();
		my ($code, $out, $err) = run(['zstd', '-q', '-t', $new]);
		is($code, 0, "$what: zstd -t passes") or diag $err;
		($code, $out, $err) = run([program('hearth'), 'check', $new]);
		is($code, 0, "$what: hearth check passes") or diag $out . $err;
		return $new;
	};
}

$load->connect;
$load->run(0.5);
is(scalar(my @none = snapshots()), 0, 'none without a reason');

my $seen = new_snapshot('SIGUSR2');
kill 'USR2', $daemon->pid;
$seen->();
ok($load->checkpoint, 'the writers saw nothing of it') or diag $load->problems;

$seen = new_snapshot('hearth snapshot');
$load->settle;
my ($code, $out, $err) = run([program('hearth'), 'snapshot', $dir]);
is($code, 0, 'hearth snapshot waits for it') or diag $err;
like($out, qr/snapshot-\d+|\bsnapshot \d+/, 'and names it');
$seen->();
wait_until('--keep 1: older files go', sub { $load->run(0.02); my @s = snapshots(); my @l = logs(); @s == 1 && @l <= 3 });
pass('older files are gone');

# Killed at once: snapshot and what came behind.
$load->run(0.2);
$daemon->kill9;
$load->drain;
$daemon->up;
ok($load->verify('killed behind a snapshot'), 'nothing is lost') or diag $load->problems;
cmp_ok($daemon->client->stats('persist')->{recovery_snapshot}, '>', 0, 'the snapshot was used');

# Killed while it runs.
for my $round (1 .. (long_run() ? 40 : 10)) {
	$load->connect;
	$load->run(0.05);
	kill 'USR2', $daemon->pid;
	$load->run(rand 0.03);
	$daemon->kill9;
	$load->drain;
	$daemon->up(args => ['-m', 256, '--snapshot-interval', 0, '--snapshot-log-ratio', 0]);
	last unless $load->verify("killed during snapshot $round");
	my @temporary = glob "$dir/*.tmp";
	is("@temporary", '', 'no unfinished file is left') if @temporary;
}
is($load->problems, '', "killed while a snapshot runs, seed $seed");

# By ratio.
$daemon->restart(args => ['-m', 256, '--snapshot-interval', 0, '--snapshot-log-ratio', 50]);
$load->connect;
$seen = new_snapshot('the log has grown');
$seen->();
ok($load->checkpoint, 'nothing is lost') or diag $load->problems;

# By interval.
$daemon->restart(args => ['-m', 256, '--snapshot-interval', 1, '--snapshot-log-ratio', 0]);
$load->connect;
$seen = new_snapshot('an interval is over');
$seen->();
$daemon->kill9;
$load->drain;
$daemon->up;
ok($load->verify('at the end'), 'nothing is lost') or diag $load->problems;

# --keep.
$daemon->restart(args => ['-m', 256, '--keep', 3, '--snapshot-interval', 0]);
for (1 .. 5) {
	$daemon->client->set("keep$_", $_);
	run([program('hearth'), 'snapshot', $dir]);
}
wait_until('--keep 3', sub { 3 == (my @s = snapshots()) });
pass('--keep 3 keeps three');
for my $file (snapshots()) {
	($code, $out, $err) = run([program('hearth'), 'check', $file]);
	is($code, 0, 'each is whole');
}
# A stop needs no snapshot.
my $newest = (snapshots())[-1];
is($daemon->stop, 0, 'stops in order');
is((snapshots())[-1], $newest, 'without another snapshot');
done_testing();
