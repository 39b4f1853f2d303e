#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth dump --key: the history of one key over snapshots, log, flushes and damage, and what it comes to now.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(blocks copy_dir flip newest);
use Hearth::Process qw(program run slurp);
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep time);

my @still = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '-m', 16, '--keep', 3);
sub hearth { my (@args) = @_; return run([program('hearth'), @args]); }

my $expected_code = 0;
sub history
{
	my ($dir, $key, @more) = @_;
	my ($code, $out, $err) = hearth('dump', '--json', '--key', $key, @more, $dir);
	is($code, $expected_code, "dump --key of '$key'") or diag $err;
	return map { decode_json($_) } split /\n/, $out;
}
sub ops { return join ' ', map { $_->{op} } @_; }

my $daemon = Hearth::Daemon->start(args => [@still]);
my $dir = $daemon->dir;
my $c = $daemon->client;
hearth('snapshot', $dir); # an empty one, so that the log stays from its beginning
my $began = time;
$c->set('k', 'one', flags => 7);
$c->set('other', 1);
$c->ask("touch k 4102444800\r\n");
$c->ask("delete missed\r\n");
hearth('snapshot', $dir);
$c->set('k', 'longer');
$c->set("a_b\xfe\xff", 'binary');

my @all = history($dir, 'k', '--values');
is(ops(@all), 'absent set touch held set now', 'records and sightings in order');
shift @all;
is_deeply([map { $all[0]{$_} } qw(seq op flags size exp value)], [1, 'set', 7, 3, 0, 'one'], 'a set');
ok($all[0]{time_ms} / 1000 > $began - 1 && $all[0]{time_ms} / 1000 < time + 1, 'with its time');
is($all[1]{exp}, 4102444800, 'a touch');
is($all[2]{exp}, 4102444800, 'a snapshot holds it as the touch left it');
is_deeply([@{ $all[4] }{qw(state size seq exp)}], ['live', 6, $all[3]{seq}, 0], 'and what it is now');
is($all[3]{cas}, $c->gets('k')->{cas}, 'which is what the daemon has');
is(ops(history($dir, 'missed')), 'absent delete absent now', 'a key that never was: its tombstone');
my @none = history($dir, 'nobody');
is(ops(@none), 'absent absent now', 'a key that nobody knows');
is($none[-1]{state}, 'gone', 'is gone');
my @binary = history($dir, 'a_b\\xfe\\xff');
is($binary[2]{op}, 'set', 'bytes are given as they are printed');
ok($binary[2]{key_b64}, 'and are no UTF-8');
my ($code, $out) = hearth('dump', '--key', 'a_b\\xfe\\xff', $dir);
unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f-\xff]/, 'text has no control bytes');

# Flushes, now and later.
$c->ask("flush_all 1000\r\n");
@all = history($dir, 'k');
is(ops(@all), 'absent set touch held set flush_at now', 'a flush to come');
is($all[-1]{state}, 'live', 'has not come yet');
$c->ask("flush_all\r\n");
@all = history($dir, 'k');
is(ops(@all), 'absent set touch held set flush_at flush now', 'a flush');
is_deeply([@{ $all[-1] }{qw(state by)}], ['gone', $all[-2]{seq}], 'took it');
like((hearth('dump', '--key', 'k', $dir))[1], qr/^now: gone: a flush took it, number $all[-2]{seq}$/m, 'says so to people');
$c->set('k', 'again', exptime => 1);
$c->ask("flush_all 1\r\n");
sleep 2.5;
@all = history($dir, 'k');
is(ops(@all), 'absent set touch held set flush_at flush set flush_at flush now', 'a delayed flush that fired');
$c->set('k', 'short', exptime => 1);
sleep 2.2;
@all = history($dir, 'k');
is($all[-1]{why}, 'it has expired', 'an expiry');
$c->set('k', 'kept');
like((hearth('dump', '--key', 'k', $dir))[1], qr/^log-\d+:\d+ \d+ \d{4}-\d\d-\d\dT\S+Z set .*\nnow: a value of 4 bytes, number \d+, expires never\n\z/m, 'a line for people');
is($daemon->stop, 0, 'stops in order');

# Damage: a change of another key, and one of this key.
$daemon = Hearth::Daemon->start(args => [@still]);
$dir = $daemon->dir;
$c = $daemon->client;
$c->set($_, 'v' x 50) for 'k', 'before', 'hit', 'k2', 'last';
is($daemon->stop, 0, 'stops in order');
my $log = newest($dir, 'log') =~ s{.*/}{}r;
my @blocks = grep { $_->[2] } blocks(slurp("$dir/$log"));
my $copy = copy_dir($dir);
flip("$copy/$log", $blocks[2][0] + 65, 1);
$expected_code = 2;
@all = history($copy, 'k');
is(ops(@all), 'set spared now', 'damage that spared it, by the log\'s key blocks');
is($all[-1]{state}, 'live', 'it is still there');
@all = history($copy, 'hit');
is(ops(@all), 'lost now', 'damage that may have hit it');
is($all[-1]{state}, 'unknown', 'then nobody knows');
is($all[0]{seq}, 3, 'which numbers');
done_testing();
