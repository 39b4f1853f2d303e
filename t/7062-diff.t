#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth diff: between snapshots, directories and both; nothing that differs is missed, nothing that does not is told.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(blocks copy_dir flip newest);
use Hearth::Process qw(program run scratch_dir slurp spew);
use JSON::PP;
use Test::More;

sub hearth { my (@args) = @_; return run([program('hearth'), @args]); }

# The lines of differences, sorted, and the counts.
sub diff
{
	my ($expected, @args) = @_;
	my ($code, $out, $err) = hearth('diff', '--json', @args);
	is("$code$err", $expected, "diff @args: $expected");
	my @all = map { decode_json($_) } split /\n/, $out;
	my $summary = pop @all;
	is($summary->{op}, 'summary', 'the counts come last');
	return ([sort { $a->{key} cmp $b->{key} } @all], $summary);
}
sub words { my ($all) = @_; return join ' ', map { "$_->{op}:$_->{key}" } @$all; }

my $daemon = Hearth::Daemon->start(args => ['--snapshot-interval', 0, '--snapshot-log-ratio', 0, '--keep', 3]);
my ($c, $dir) = ($daemon->client, $daemon->dir);
sub snapshot
{
	my ($code, $out, $err) = hearth('snapshot', $dir);
	is($code, 0, 'a snapshot') or diag $err;
	my $copy = scratch_dir() . '/' . newest($dir, 'snapshot') =~ s{.*/}{}r;
	spew($copy, slurp(newest($dir, 'snapshot')));
	return $copy;
}

my $far = time + 100_000;
$c->set("same$_", 's' x $_) for 1 .. 100;
$c->set('value', 'before', exptime => $far);
$c->set('length', 'short');
$c->set('flags', 'x', flags => 1);
$c->set('touched', 'x', exptime => $far);
$c->set('all', 'x', flags => 1, exptime => $far);
$c->set('deleted', 'gone soon');
$c->set("binary\x01", 'x');
$c->set('swapped', "a\0b");
my $first = snapshot();
my ($all, $sum) = diff(0, $first, $first);
is(scalar @$all, 0, 'a snapshot does not differ from itself');
is_deeply([@$sum{qw(a b same)}], [({ items => 108, bytes => $sum->{a}{bytes} }) x 3], 'all the same');
($all, $sum) = diff(0, $first, $dir);
is($sum->{same}{items}, 108, 'nor from the directory that it is of');

$c->set('value', 'behind', exptime => $far);
$c->set('length', 'much longer');
$c->set('flags', 'x', flags => 2);
$c->ask("touch touched @{[$far + 1]}\r\n");
$c->set('all', 'y', flags => 0);
$c->ask("delete deleted\r\n");
$c->set('added', 'new', exptime => $far, flags => 9);
$c->set("same$_", 's' x $_) for 1 .. 50; # set again, to the same
$c->set('swapped', "b\0a");
my $second = snapshot();
my $expected = 'added:added changed:all removed:deleted changed:flags changed:length changed:swapped changed:touched changed:value';
for my $pair ([$first, $second], [$first, $dir]) {
	($all, $sum) = diff(1, @$pair);
	is(words($all), $expected, 'each difference, once');
	my %by = map { $_->{key} => $_ } @$all;
	is_deeply([@{ $by{value} }{qw(value size_before size flags_before flags exp_before exp)}], [JSON::PP::true, 6, 6, 0, 0, $far, $far], 'a value');
	ok(!$by{touched}{value} && !$by{flags}{value}, 'a touch changes no value');
	is("$by{touched}{exp_before} $by{touched}{exp}", "$far " . ($far + 1), 'but the expiry');
	is("$by{flags}{flags_before} $by{flags}{flags}", '1 2', 'flags');
	is_deeply([@{ $by{added} }{qw(size flags exp)}], [3, 9, $far], 'what is new');
	is($by{deleted}{size}, 9, 'what is gone');
	is_deeply([@$sum{qw(changed changed_value changed_flags changed_exp)}], [6, 4, 2, 2], 'counts');
	is("$sum->{removed}{items} $sum->{removed}{bytes}", '1 16', 'removed');
	is("$sum->{added}{items} $sum->{added}{bytes}", '1 8', 'added');
	is($sum->{same}{items}, 101, 'the same');
	is($sum->{a}{bytes}, $sum->{same}{bytes} + $sum->{changed_bytes_before} + $sum->{removed}{bytes}, 'bytes of the first add up');
	is($sum->{b}{bytes}, $sum->{same}{bytes} + $sum->{changed_bytes} + $sum->{added}{bytes}, 'and of the second');
}
($all) = diff(1, $second, $first);
is(words($all), $expected =~ s/added:added/removed:added/r =~ s/removed:deleted/added:deleted/r, 'the other way round');
($all, $sum) = diff(1, '--prefix', 'a', $first, $second);
is(words($all), 'added:added changed:all', '--prefix');
is($sum->{a}{items}, 1, 'counts are of these, too');
($all) = diff(1, '--summary', $first, $second);
is(scalar @$all, 0, '--summary --json: counts alone');

my ($code, $out, $err) = hearth('diff', $first, $second);
is("$code$err", '1', 'for people');
like($out, qr/^- deleted$/m, 'removed');
like($out, qr/^\+ added$/m, 'added');
like($out, qr/^! all value flags exp$/m, 'changed, and how');
like($out, qr/^! touched exp$/m, 'a touch');
like($out, qr/^- 1 items, 16 bytes only in \Q$first\E$/m, 'counts');
like($out, qr/^  101 items, \d+ bytes the same$/m, 'counts');
($code, $out) = hearth('diff', '--summary', $first, $second);
is($code, 1, '--summary has the same exit code');
unlike($out, qr/deleted$/m, 'and no keys');
$c->set("odd\x01_key", 'x');
($code, $out) = hearth('diff', $second, $dir);
like($out, qr/^\+ odd%01_key$/m, 'keys are encoded');
unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f-\xff]/, 'no control byte');

# What has expired since counts as it is in the files.
$c->set('short', 'x', exptime => 1);
my $third = snapshot();
sleep 2;
($all) = diff(1, $second, $third);
is(words($all), "added:odd\x01_key added:short", 'an expired item is one');

# Damage.
my $bad = scratch_dir() . '/bad';
spew($bad, slurp($first));
flip($bad, int(length(slurp($first)) / 2), 3);
($code, $out, $err) = hearth('diff', $first, $bad);
is($code, 2, 'damage: 2');
like($err, qr/\Q$bad\E: at offset \d+/, 'named with its place');
for (['diff', $first], ['diff', $first, $second, $second], ['diff', '--top', $first, $second]) {
	($code, $out, $err) = hearth(@$_);
	is("$code$out", '64', 'wrong use: 64');
}
($code, $out, $err) = hearth('diff', $first, "$dir/none");
ok($code == 65 || $code == 74, "no such file: $code");
like($err, qr/none/, 'named');
is($daemon->stop, 0, 'stops in order');

# ---- what export and import carry over does not differ, values that are packed or not ----
my $packing = Hearth::Daemon->start(args => ['--compress', '-m', 64, '--snapshot-interval', 0]);
my $p = $packing->client;
my $json = sub { my ($i) = @_; return encode_json({ id => $i, name => "user number $i", mail => "user$i\@example.org", roles => ['reader', 'writer'], active => $i % 2 }) x 3 };
$p->set("p:$_", $json->($_), flags => $_ % 5, exptime => $_ % 3 ? 0 : $far) for 1 .. 20_000;
Hearth::Process::wait_until('a dictionary', sub { $p->stats('compress')->{compress_dictionaries} > 0 }, 60);
$p->set("p:$_", $json->($_), flags => $_ % 5, exptime => $_ % 3 ? 0 : $far) for 1 .. 20_000;
($code, $out) = hearth('dump', '--json', $packing->dir);
like($out, qr/"packed":/, 'some values are packed');
my $plain = Hearth::Daemon->start(args => ['-m', 64]);
my $file = scratch_dir() . '/items';
($code, $out, $err) = hearth('export', $packing->dir);
is("$code$err", '0', 'export unpacks');
spew($file, $out);
($code, $out, $err) = hearth('import', '--server', '127.0.0.1:' . $plain->port, $file);
is("$code$err", '0', 'import');
($all, $sum) = diff(0, $packing->dir, $plain->dir);
is($sum->{same}{items}, 20_000, 'the same from the log');
hearth('snapshot', $packing->dir);
$plain->kill9;
($all, $sum) = diff(0, $packing->dir, $plain->dir);
is($sum->{same}{items}, 20_000, 'the same from a snapshot and behind a kill -9');
done_testing();
