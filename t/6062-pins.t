#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Snapshots that stay: --keep-days, pin and unpin with a daemon and without, the list of them; over kills.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run scratch_dir tree_digest);
use JSON::PP;
use Test::More;

my @args = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0);
sub hearth { return run([program('hearth'), @_]); }
sub list { my ($code, $out) = hearth('snapshot', $_[0], '--list', '--json'); return map { decode_json($_) } split /\n/, $out; }
sub numbers { return join ' ', map { $_->{number} . ($_->{pinned} ? 'p' : '') } list(@_); }

my $daemon = Hearth::Daemon->start(args => \@args);
my $dir = $daemon->dir;
is(numbers($dir), '', 'none yet');
$daemon->client->set('a', 1);
my ($code, $out, $err) = hearth('snapshot', $dir, '--pin');
is($code, 0, 'snapshot --pin') or diag $err;
$daemon->client->set('b', 2);
hearth('snapshot', $dir);
hearth('snapshot', $dir);
is(numbers($dir), '1p 3', 'the pinned one stays, --keep 1 holds for the others');
my ($first, $last) = list($dir);
is($first->{items}, 1, 'items');
is($last->{items}, 2, 'items of the other');
like($first->{time}, qr/^20\d\d-\d\d-\d\dT/, 'time');
cmp_ok($last->{start}, '>', $first->{end}, 'numbers');
is($first->{bytes}, -s "$dir/$first->{file}", 'bytes');
is($first->{generation}, 1, 'generation');
($code, $out) = hearth('snapshot', $dir, '--list');
like($out, qr/^snapshot-0000000001  20\S+  numbers \d+ to \d+, 1 items, \d+ bytes, generation 1, pinned\n/, 'as text');

# A kill, and a start: it is pinned still.
$daemon->crash;
hearth('snapshot', $dir);
is(numbers($dir), '1p 4', 'over a kill');
($code, $out, $err) = hearth('restore', "$dir/snapshot-0000000001", '--to', scratch_dir() . '/old');
is($code, 0, 'it can be restored') or diag $err;

# Orders that make no sense.
for my $case ([9, qr/no such snapshot/], ['x', qr/not the number/], [0, qr/not the number/]) {
	($code, $out, $err) = hearth('pin', $dir, $case->[0]);
	is($code, 64, "pin $case->[0]");
	like($err, $case->[1], 'says why');
}
($code, $out, $err) = hearth('snapshot', $dir, '--pin', '--list');
is($code, 64, '--pin --list');

($code, $out, $err) = hearth('pin', '--json', $dir, 9);
is("$code$out", '64', '--json: no data without a pin');
($code, $out, $err) = hearth('pin', '--json', $dir, 4);
is($out, qq({"file":"snapshot-0000000004","number":4,"pinned":true}\n), 'pin --json');
is("$code$err", '0', 'and nothing else');
($code, $out, $err) = hearth('unpin', $dir, 4, '--json');
is($out, qq({"file":"snapshot-0000000004","number":4,"pinned":false}\n), 'unpin --json');
is(numbers($dir), '1p 4', 'as it says');
is((hearth('unpin', $dir, 1))[0], 0, 'unpin');
is((hearth('pin', $dir, 4))[0], 0, 'pin another');
is(numbers($dir), '1 4p', 'as the list says');
hearth('snapshot', $dir);
is(numbers($dir), '4p 5', 'it went with the next');

# Without a daemon.
is($daemon->kill9, 137, 'killed');
unlink "$dir/admin.sock";
is(numbers($dir), '4p 5', 'the list needs no daemon');
is((hearth('unpin', $dir, 4, '--json'))[1], qq({"file":"snapshot-0000000004","number":4,"pinned":false}\n), 'unpin neither');
is((hearth('pin', $dir, 5))[0], 0, 'pin neither');
SKIP: {
	skip 'only root may', 1 unless $> == 0;
	my (undef, undef, $uid, $gid) = getpwnam 'nobody';
	chown $uid, $gid, $dir, glob "$dir/*";
	hearth('pin', $dir, 5);
	is((stat "$dir/MANIFEST")[4], $uid, 'by root, the manifest stays its owner\'s');
	chown 0, 0, $dir, glob "$dir/*";
}
my $before = tree_digest($dir);
($code, $out, $err) = hearth('pin', $dir, 77);
is($code, 64, 'one that is not there');
is(tree_digest($dir), $before, 'changes nothing');
$daemon->up(args => [@args, '--keep-days', 1]);
is($daemon->client->get('a') . $daemon->client->get('b'), '12', 'all items are there');
hearth('snapshot', $dir) for 1 .. 3;
is(numbers($dir), '4 5p 6 7 8', '--keep-days: younger ones stay');
$daemon->crash(args => \@args);
hearth('snapshot', $dir);
is(numbers($dir), '5p 9', 'without it --keep alone holds');
is($daemon->stop, 0, 'stopped in order');
done_testing();
