#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# While it was down: --max-downtime starts empty, --restart-mode=ttl-cap=N caps what is left to live, a time in the data far
# ahead of the clock is told, or refused. Each also holds over the kill behind it.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run slurp tree_digest);
use Test::More;
use Time::HiRes qw(sleep);

my @quiet = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0);
my $daemon = Hearth::Daemon->start(args => [@quiet]);
$daemon->client->set("key$_", "value$_") for 1 .. 50;
my $cas = $daemon->client->gets('key50')->{cas};

# ---- down for longer than is allowed ----
$daemon->kill9;
sleep 2.2;
$daemon->up(args => [@quiet, '--max-downtime', 1]);
like($daemon->errors, qr/down for \d+ seconds, longer than --max-downtime 1: started empty/, 'it says so in one line');
my $stats = $daemon->client->stats('persist');
cmp_ok($stats->{recovery_downtime}, '>', 2, 'how long it was down');
is($stats->{recovery_started_empty}, 'yes', 'that it started empty');
is($stats->{recovery_dropped}, 50, 'and how much it dropped');
is($daemon->client->stats->{curr_items}, 0, 'nothing is there');
$daemon->client->set('new', 'here');
cmp_ok($daemon->client->gets('new')->{cas}, '>', $cas, 'numbers go on');
for my $args ([@quiet, '--max-downtime', 1000], [@quiet]) {
	$daemon->kill9;
	$daemon->up(args => $args);
	is($daemon->client->get('key1'), undef, 'killed and started: no ghost');
	is($daemon->client->get('new'), 'here', 'and nothing lost');
	is($daemon->client->stats('persist')->{recovery_started_empty}, 'no', 'it had not been down for long');
}

# ---- a cap ----
$daemon->client->set('long', 1, exptime => 100000);
$daemon->kill9;
$daemon->up(args => [@quiet, '--restart-mode', 'ttl-cap=600']);
is($daemon->client->get('long'), 1, 'with a cap it is there');
is($daemon->client->get('new'), 'here', 'so is what had no expiry');
$daemon->client->set('later', 1);
$daemon->kill9;
$daemon->up(args => [@quiet]);
$daemon->jump(601);
is($daemon->client->get($_), undef, "$_: the cap outlives the next kill") for qw(long new);
is($daemon->client->get('later'), 1, 'what was set behind it is not capped');

# ---- a clock that contradicts the data ----
$daemon->client->set('dead', 1, exptime => 100);
$daemon->jump(20 * 86400);
is($daemon->client->get('dead'), undef, 'expired far ahead of the clock');
$daemon->client->set('alive', 1, exptime => 500);
$daemon->kill9;
unlink $daemon->dir . '/admin.sock'; # a kill leaves it, each start removes it
my $before = tree_digest($daemon->dir);
my ($code, $err) = Hearth::Daemon->refused('--data-dir', $daemon->dir, '--clock-check', 'refuse', '--test-commands');
is($code, 65, '--clock-check refuse');
like($err, qr/data is more than a day ahead of the clock/, 'says why');
is($err =~ tr/\n//, 1, 'in one line') or diag $err;
is(tree_digest($daemon->dir), $before, 'and changes nothing');
for my $round (1, 2) {
	$daemon->up(args => [@quiet]);
	my $message = qr/data is more than a day ahead of the clock/;
	$round == 1 ? like($daemon->errors, $message, 'warned') : unlike($daemon->errors, $message, 'once');
	is($daemon->client->get('dead'), undef, 'what had expired stays so');
	is($daemon->client->get('alive'), 1, 'what had not is there');
	$daemon->client->set('absolute', 1, exptime => time + 40 * 86400);
	is($daemon->client->get('absolute'), 1, 'a time in the future has not passed');
	$daemon->kill9;
}
$daemon->up(args => [@quiet]);
$daemon->jump(501);
is($daemon->client->get('alive'), undef, 'and it had no more than its time left');
is($daemon->stop, 0, 'stopped in order');

# ---- stale ----
$daemon = Hearth::Daemon->start(args => [@quiet]);
$daemon->client->set($_, $_) for qw(old won);
$daemon->kill9;
$daemon->up(args => [@quiet, '--restart-mode', 'stale']);
sub mg { my ($line) = @_; my $c = $daemon->client; my $got = $c->ask("mg $line\r\n"); $c->line if $got =~ /^VA/; return $got; }
is($daemon->client->get('old'), 'old', 'loaded as stale it is served');
is(mg('won v'), 'VA 3 X W', 'a meta client is told so, and wins');
is(mg('won v'), 'VA 3 Z X', 'the next one is told that somebody does');
$daemon->client->set('filled', 'anew');
$daemon->kill9;
$daemon->up(args => [@quiet]);
is(mg('won v'), 'VA 3 Z X', 'that holds over the next kill');
is(mg('old v'), 'VA 3 X W', 'and what nobody has filled is stale still');
is(mg('filled v'), 'VA 4', 'what was set behind it is not');
is($daemon->stop, 0, 'stopped in order');

# ---- usage ----
for my $case (['--restart-mode', 'ttl-cap=0', qr/--restart-mode/],
	['--restart-mode', 'warm', qr/fresh, stale or ttl-cap/], ['--max-downtime', '-1', qr/--max-downtime/],
	['--clock-check', 'maybe', qr/--clock-check/]) {
	($code, $err) = Hearth::Daemon->refused('--data-dir', 'none', @$case[0, 1]);
	is($code, 64, "@$case[0, 1] is refused");
	like($err, $case->[2], 'with the reason');
}
done_testing();
