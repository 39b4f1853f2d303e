#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# cache_memlimit: more memory takes more items, less evicts and goes back to the system, while others read and write; what is
# beyond either end is refused as memcached does; the next start has -m again, and loads what fits.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(sanitizer slurp wait_until);
use Test::More;

my $mib = 1024 * 1024;
my $daemon = Hearth::Daemon->start(args => ['-m', 32, '-t', 2]);
my $client = $daemon->client;
my $value = 'v' x 1000;

sub fill
{
	my ($from, $to) = @_;
	my $batch = '';
	for my $i ($from .. $to) {
		$batch .= "set key$i 0 0 1000 noreply\r\n$value\r\n";
		$client->put($batch), $batch = '' if $i % 500 == 0 || $i == $to;
	}
	is($client->ask("mn\r\n"), 'MN', "keys up to $to");
	return;
}
sub used { return $client->stats('persist')->{memory_used}; }
sub resident { return slurp('/proc/' . $daemon->pid . '/statm') =~ /^\d+ (\d+)/ ? $1 * 4096 : 0; }

fill(1, 60_000);
my $stats = $client->stats;
cmp_ok($stats->{curr_items}, '<', 32_000, 'no more than fits into 32 MiB');
cmp_ok($stats->{evictions}, '>', 28_000, 'the others were evicted');

is($client->ask("cache_memlimit 96\r\n"), 'OK', 'more memory');
is($client->stats->{limit_maxbytes}, 96 * $mib, 'stats shows it');
is($client->stats('settings')->{maxbytes}, 96 * $mib, 'stats settings, too');
$client->ask("stats reset\r\n");
fill(100_001, 150_000);
$stats = $client->stats;
cmp_ok($stats->{curr_items}, '>', 75_000, 'holds more');
is($stats->{evictions}, 0, 'without an eviction');
my $before = resident();

is($client->ask("cache_memlimit 16\r\n"), 'OK', 'less memory');
wait_until('evictions', sub { used() <= 16 * $mib });
$stats = $client->stats;
cmp_ok($stats->{curr_items}, '<', 16_000, 'holds less');
cmp_ok($stats->{curr_items}, '>', 8_000, 'but is not empty');
ok(wait_until('the rest is back', sub { $before - resident() > 60 * $mib }), 'the system has the rest back') unless sanitizer();
$client->set('now', 'here');
is($client->get('now'), 'here', 'and it serves');
fill(200_001, 220_000);
cmp_ok(used(), '<=', 16 * $mib, 'the bound holds');

is($client->ask("cache_memlimit 7\r\n"), 'MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m', 'too little');
is($client->ask("cache_memlimit 2000000000\r\n"), 'MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes', 'bytes');
is($client->ask("cache_memlimit 257\r\n"), 'MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust', 'more than eight times');
is($client->ask("cache_memlimit x\r\n"), 'ERROR', 'no number');
is($client->stats->{limit_maxbytes}, 16 * $mib, 'none of these changed it');

is($client->ask("cache_memlimit 96\r\n"), 'OK', 'up again');
fill(300_001, 350_000);
$daemon->crash;
$client = $daemon->client;
$stats = $client->stats;
is($stats->{limit_maxbytes}, 32 * $mib, 'a start has -m again');
cmp_ok($stats->{curr_items}, '>', 20_000, 'and what fits of what there was');
cmp_ok(used(), '<=', 32 * $mib, 'within its bound');
my @found = grep { defined $client->get("key$_") } 300_001 .. 350_000;
cmp_ok(scalar @found, '>', 20_000, 'which can be read');
$daemon->stop;
$daemon->report;
done_testing();
