#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth: dump, check, snapshot, stats and restore on directories that are live, stopped and damaged.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(copy_dir flip cut newest blocks);
use Hearth::Process qw(program run scratch_dir slurp spew tree_digest);
use JSON::PP;
use MIME::Base64;
use Test::More;

sub hearth { my (@args) = @_; return run([program('hearth'), @args]); }
sub dump_of
{
	my (@args) = @_;
	my ($code, $out, $err) = hearth('dump', '--json', @args);
	is($code, 0, "dump --json @args") or diag $err;
	# A log that was idle for a second has a seal.
	return grep { $_->{op} !~ /^(?:seal|key_block)$/ } map { decode_json($_) } split /\n/, $out;
}

my $daemon = Hearth::Daemon->start(args => ['--snapshot-interval', 0, '--snapshot-log-ratio', 0]);
my $dir = $daemon->dir;
my $c = $daemon->client;
my $binary = "\0\1\xff\r\n\"\\";
$c->set('plain', 'value', flags => 77);
$c->set('expires', 'soon', exptime => 4102444800);
$c->set("key\xff", $binary);
$c->set("gr\xc3\xbc\xc3\x9fe", "\xe2\x82\xac");
$c->set('quote"\\', "a\tb\x7f");
$c->set('prefix:1', 1);
$c->set('prefix:2', 2);
$c->ask("incr prefix:2 40\r\n");
$c->ask("delete prefix:1\r\n");
$c->ask("delete missed\r\n");
$c->ask("touch plain 4102444801\r\n");
$c->set('big', 'B' x 500_000);

# ---- dump, live ----
my @all = dump_of($dir);
is(join(' ', map { $_->{op} } @all), 'set set set set set set set set delete delete touch set', 'each change is one record');
is_deeply([map { $_->{seq} } @all], [sort { $a <=> $b } map { $_->{seq} } @all], 'in the order of their numbers');
my ($plain) = @all;
is_deeply([@$plain{qw(op key flags exp size)}], ['set', 'plain', 77, 0, 5], 'seq op key flags exp size cas');
is($plain->{cas}, $c->gets('plain')->{cas}, 'the CAS is what clients see');
ok(!exists $plain->{value}, 'no values unless asked for');
is($all[1]{exp}, 4102444800, 'an absolute expiry');
is($all[2]{key_b64}, encode_base64("key\xff", ''), 'a key that is no UTF-8: key_b64');
ok(!exists $all[2]{key}, 'and no key');
is($all[3]{key}, "gr\x{fc}\x{df}e", 'UTF-8 is text');
is($all[7]{size}, 2, 'incr is a set of its result');
is_deeply([@{ $all[9] }{qw(op key)}], ['delete', 'missed'], 'a delete that misses leaves a record');
is_deeply([@{ $all[10] }{qw(op key exp)}], ['touch', 'plain', 4102444801], 'a touch is a record of its own');
is($all[11]{size}, 500_000, 'a large value');

my @values = dump_of('--values', $dir);
is($values[0]{value}, 'value', '--values');
is($values[2]{value_b64}, encode_base64($binary, ''), 'value_b64');
is($values[3]{value}, "\x{20ac}", 'UTF-8 values are text');
is($values[4]{value}, "a\tb\x7f", 'control bytes are escaped');
is($values[7]{value}, '42', 'the result of incr');
is($values[11]{value}, 'B' x 500_000, 'all of a large value');

is(join(' ', map { $_->{op} } dump_of('--key', 'prefix:1', $dir)), 'set delete now', '--key');
is(scalar(my @p = dump_of('--prefix', 'prefix:', $dir)), 4, '--prefix');
is(scalar(my @log = dump_of(newest($dir, 'log'))), 12, 'a file alone');
my ($code, $out, $err) = hearth('dump', '--values', $dir);
is($code, 0, 'dump for people');
is(scalar(grep { !/ seal / } split /\n/, $out), 12, 'one line a record');
unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f]/, 'without control bytes');
like($out, qr/plain/, 'with keys');

# ---- check, live ----
($code, $out, $err) = hearth('check', $dir);
is($code, 0, 'check of a live directory') or diag $out . $err;
like($out, qr/^.*log-\d{10}\b.*$/m, 'a verdict a file');

# ---- snapshot, stats ----
my $before = tree_digest($dir);
($code, $out, $err) = hearth('snapshot', $dir);
is($code, 0, 'snapshot') or diag $err;
my $snapshot = newest($dir, 'snapshot');
my @snap = dump_of('--values', $snapshot);
is(join(' ', sort map { $_->{key} // $_->{key_b64} } @snap),
    join(' ', sort 'plain', 'expires', encode_base64("key\xff", ''), "gr\x{fc}\x{df}e", 'quote"\\', 'prefix:2', 'big'),
    'a snapshot holds the items, once');
is((grep { ($_->{key} // '') eq 'plain' } @snap)[0]{exp}, 4102444801, 'with the expiry that touch gave');
($code, $out, $err) = run(['zstdcat', $snapshot]);
is($code, 0, 'zstdcat reads it') or diag $err;
like($out, qr/plain.*value/s, 'and shows records');
($code, $out, $err) = hearth('stats', $dir);
is($code, 0, 'stats') or diag $err;
like($out, qr/curr_items\s+7\b/, 'counters of the daemon');
($code, $out, $err) = hearth('stats', '--json', $dir);
is(eval { decode_json($out)->{curr_items} }, 7, 'stats --json') or diag $out . $err;
$c->set('behind', 'the snapshot');
is($daemon->stop, 0, 'stops in order');
for my $sub (qw(snapshot stats)) {
	($code, $out, $err) = hearth($sub, $dir);
	is($code, 69, "$sub of a stopped daemon: 69");
	is($err =~ tr{\n}{}, 1, "in one line");
}

# ---- restore ----
my $new = scratch_dir() . '/new';
$before = tree_digest($dir);
($code, $out, $err) = hearth('restore', $dir, '--to', $new);
is($code, 0, 'restore a directory') or diag $err;
is(tree_digest($dir), $before, 'which stays as it was');
my $keys = "plain expires prefix:2 big behind gr\xc3\xbc\xc3\x9fe prefix:1 missed";
my $restored = Hearth::Daemon->start(dir => $new);
my $items = $restored->client->items("gets $keys");
is(join(' ', sort keys %$items), join(' ', sort qw(plain expires prefix:2 big behind), "gr\xc3\xbc\xc3\x9fe"),
    'served from there, the log behind the snapshot included');
is($items->{big}{value}, 'B' x 500_000, 'values are whole');
is($items->{plain}{flags}, 77, 'flags are kept');
$daemon->up;
my $mine = $daemon->client;
is($mine->gets($_)->{cas}, $items->{$_}{cas}, "the CAS of $_ is kept") for qw(plain big);
isnt($restored->client->stats('persist')->{lineage}, $mine->stats('persist')->{lineage}, 'a new lineage');
$restored->client->set('plain', 'changed');
cmp_ok($restored->client->gets('plain')->{cas}, '>', $items->{behind}{cas}, 'and CAS numbers go on');
is($restored->stop, 0, 'stops in order');

$before = tree_digest($new);
($code, $out, $err) = hearth('restore', $dir, '--to', $new);
is($code, 73, 'restore refuses a directory that is not empty');
like($err, qr/\Q$new\E/, 'and names it');
is(tree_digest($new), $before, 'and changes nothing');
my $empty = scratch_dir();
($code, $out, $err) = hearth('restore', $snapshot, '--to', $empty);
is($code, 0, 'restore a snapshot alone, into an empty directory') or diag $err;
my $from = Hearth::Daemon->start(dir => $empty);
is($from->client->get('plain'), 'value', 'served');
is($from->client->get('behind'), undef, 'without what came behind it');
is($from->stop, 0, 'stops in order');
$mine->set('last', 1);
$daemon->kill9;

# ---- damage ----
my $log = newest($dir, 'log') =~ s{.*/}{}r;
my @blocks = blocks(slurp("$dir/$log"));
cmp_ok(scalar @blocks, '>=', 1, 'the last log has blocks');
my $copy = copy_dir($dir);
cut("$copy/$log", $blocks[-1][1] - 1);
($code, $out, $err) = hearth('check', $copy);
is($code, 1, 'check: a torn end is 1');
like($out . $err, qr/$log.*\b$blocks[-1][0]\b/, 'with its offset');
($code) = hearth('dump', $copy);
is($code, 1, 'dump: 1');
my $name = $snapshot =~ s{.*/}{}r;
flip("$copy/$name", (-s $snapshot) / 2, 0);
($code, $out, $err) = hearth('check', $copy);
is($code, 2, 'check: damage is 2, whatever else there is');
like($out . $err, qr/$name/, 'and named');
($code, $out, $err) = hearth('dump', '--json', "$copy/$name");
is($code, 2, 'dump: 2');
spew("$copy/noise", join '', map { chr int rand 256 } 1 .. 2000);
($code) = hearth('check', "$copy/noise");
cmp_ok($code, '>=', 2, 'a file that is none of ours');

# ---- usage ----
for (['dump'], ['dump', '--nope', $dir], ['restore', $dir], ['nope'], [], ['check']) {
	($code, $out, $err) = hearth(@$_);
	is($code, 64, "usage: hearth @$_");
	is($err =~ tr/\n//, 1, 'one line') or diag $err;
}
($code, $out, $err) = hearth('dump', "$dir/nothing-there");
is($code, 74, 'a file that is not there');
like($err, qr{nothing-there}, 'named');
done_testing();
