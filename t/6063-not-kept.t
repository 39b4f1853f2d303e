#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# --persist-min-ttl and --no-persist-prefix: such values are not on disk, and nothing older of their keys comes back, however
# often it is killed.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run);
use Test::More;

my @quiet = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0);
my @args = (@quiet, '--persist-min-ttl', 60, '--no-persist-prefix', 'tmp:', '--no-persist-prefix', 'a,b');
my $daemon = Hearth::Daemon->start(args => \@quiet);
my $c = $daemon->client;
$c->set($_, 'old') for ('tmp:1', 'a,b1', 'short', 'long', 'plain');
$daemon->crash(args => \@args);
$c = $daemon->client;
is($c->get('tmp:1'), 'old', 'what was kept before stays until it changes');
$c->set('tmp:1', 'secret-value');
$c->set('a,b1', 'secret-value');
$c->set('short', 'secret-value', exptime => 59);
$c->set('long', 'new', exptime => 3600);
$c->set('grows', 'was-short', exptime => 10);
is($c->ask("touch grows 3600\r\n"), 'TOUCHED', 'touch');
is($c->get($_), 'secret-value', "$_ is served") for ('tmp:1', 'a,b1', 'short');
my ($code, $out) = run([program('hearth'), 'dump', '--values', $daemon->dir]);
is($code, 0, 'dump');
unlike($out, qr/secret-value/, 'none of it is on disk');
like($out, qr/was-short/, 'what a touch made worth keeping is');
$daemon->kill9;
for my $round (1, 2) {
	$daemon->up(args => $round == 1 ? \@args : \@quiet);
	$c = $daemon->client;
	is($c->get($_), undef, "killed and started, round $round: $_ is gone, old value and all") for ('tmp:1', 'a,b1', 'short');
	is($c->get('long'), 'new', 'long is there');
	is($c->get('plain'), 'old', 'plain is there');
	is($c->get('grows'), 'was-short', 'grows is there');
	$daemon->kill9;
}
$daemon->up(args => \@args);
$c = $daemon->client;
$c->set('tmp:2', 'x');
($code, $out) = run([program('hearth'), 'snapshot', $daemon->dir]);
like($out, qr/: 3 items/, 'a snapshot leaves it out');
is($daemon->stop, 0, 'stopped in order');
$daemon->up;
is($daemon->client->get('tmp:2'), undef, 'a stop in order keeps it no more than a kill');
is($daemon->stop, 0, 'stopped again');
my ($refused, $err) = Hearth::Daemon->refused('--data-dir', 'none', '--persist-min-ttl', '-1');
is($refused, 64, 'a negative time is refused');
($refused, $err) = Hearth::Daemon->refused('--data-dir', 'none', '--no-persist-prefix', '');
is($refused, 64, 'an empty prefix is refused');
done_testing();
