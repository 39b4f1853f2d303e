#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The same with memory that is short: items are evicted, and a key that was evicted lies on in older files. Whatever was
# deleted or overwritten since must not come back from there, also after starts with less memory, a smaller -I and other
# threads.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Load;
use Hearth::Process qw(long_run sanitizer wait_until);
use Test::More;

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
my $kills = long_run() ? 100 : sanitizer() ? 8 : 20;
srand $seed;

sub pick { return $_[rand @_]; }

sub options
{
	return ['-m', pick(8, 16, 24), '-t', pick(1, 3), '--eviction', pick(qw(s3fifo lru lfu ttl random mru)),
		'--snapshot-log-ratio', pick(0, 20, 100), '--fsync', pick('everysec', 'os')];
}

my $daemon = Hearth::Daemon->start(args => options());
my $load = Hearth::Load->new(daemon => $daemon, seed => $seed, evicting => 1, keys => 1500, huge => 0.001,
	sizes => [100, 1000, 3000, 4000, 5000, 9000]);
my ($killed, $evicted) = (0, 0);
while ($killed < $kills) {
	$load->connect;
	$load->run(0.2 + rand 0.4);
	kill 'USR2', $daemon->pid if rand() < 0.3;
	$load->run(rand 0.2);
	$evicted += $daemon->client->stats->{evictions};
	$daemon->kill9;
	$killed++;
	$load->drain;
	if (rand() < 0.3) {
		# With an -I that some items exceed: they are not served, nor is anything older in their place.
		$daemon->up(args => ['-m', 8, '-I', '4k', '-t', 2]);
		last unless $load->verify("kill $killed, smaller -I");
		$daemon->kill9;
	}
	$daemon->up(args => options());
	last unless $load->verify("kill $killed");
	my ($kb) = Hearth::Process::slurp('/proc/' . $daemon->pid . '/status') =~ /^VmRSS:\s+(\d+)/m;
	cmp_ok($kb / 1024, '<', 24 + 64, 'within -m and the constant') unless sanitizer();
}
my $least = sanitizer() ? 100 : 1000;
if ($evicted <= $least && !$load->problems) {
	# On a busy machine all of these lives may have been too short.
	$load->connect;
	wait_until('evictions', sub { $load->run(0.2); $evicted + $daemon->client->stats->{evictions} > $least }, 120);
	$evicted += $daemon->client->stats->{evictions};
	$load->checkpoint;
}
is($load->problems, '', "$killed kills, seed $seed");
is($killed, $kills, "$load->{commands} commands");
cmp_ok($evicted, '>', $least, "$evicted evictions");
is($daemon->stop, 0, 'stops in order');
done_testing();
