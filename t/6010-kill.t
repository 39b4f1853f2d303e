#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# kill -9 at random moments under eight writing clients, one directory for ever: no acknowledged write is lost, no
# deleted, flushed, expired or overwritten value comes back, nothing is there that no client wrote (Hearth::Load says
# how that is judged). Between kills the daemon comes back with other threads, policies and snapshots; some kills hit
# it while it recovers, takes a snapshot or flushes. It goes on for as long as its share of CHECK_MINUTES.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Load;
use Hearth::Process qw(slurp program run spawn reap);
use List::Util qw(sum0);
use Test::More;
use Time::HiRes qw(sleep);

my $budget = Hearth::Budget->new(share => 0.2);
my $seed = $budget->seed;

sub pick { return $_[rand @_]; }

sub options
{
	return ['-m', 256, '-t', pick(1, 2, 4), '--fsync', pick('always', 'everysec', 'everysec', 'os'), '--keep', pick(1, 2),
		'--snapshot-log-ratio', pick(0, 1, 50, 100), '--snapshot-interval', pick(0, 1, 3600),
		'--eviction', pick(qw(s3fifo lru lfu ttl random mru))];
}

my $daemon = Hearth::Daemon->start(args => options());
my $load = Hearth::Load->new(daemon => $daemon, seed => $seed);
my ($killed, $jumps, $starts_killed, $flushes, $snapshots) = (0, 0, 0, 0, 0);
my @story; # the last rounds, for who looks for the reason
sub story
{
	my ($what) = @_;
	push @story, $what;
	shift @story if @story > 25;
	return;
}

# What happens in a round besides the load; returns true when the kill must follow at once.
sub event
{
	my $kind = rand;
	if ($kind < 0.3) {
		story('snapshot');
		kill 'USR2', $daemon->pid;
		$snapshots++;
	} elsif ($kind < 0.4) {
		story('flush_all');
		$flushes++;
		$load->flush;
	} elsif ($kind < 0.5) {
		story('flush_all unanswered');
		$flushes++;
		$load->flush('unanswered');
		return 1;
	} elsif ($kind < 0.57 && $load->{clock} < 900_000) {
		story('jump');
		$jumps++;
		$load->jump(7000);
	}
	return 0;
}

# Starts that are killed before they are done.
sub start_and_kill
{
	for (1 .. 1 + rand 2) {
		my $pid = spawn([$daemon->command], err => "/dev/null");
		sleep rand 0.04;
		kill 'KILL', $pid;
		reap($pid, 60);
		story('start cut short');
		$starts_killed++;
	}
	return;
}

while ($budget->left || $killed < 10) {
	$load->connect;
	$load->run(0.005 + rand 0.2);
	$load->run(rand 0.1) unless event();
	my $stop = rand() < 0.1;
	$stop ? $daemon->stop : $daemon->kill9;
	$killed++;
	story(($stop ? 'stop ' : 'kill ') . $killed);
	$load->drain;
	start_and_kill() if rand() < 0.15;
	$budget->case($daemon->dir);
	$daemon->up(args => options());
	story(join ' ', @{ $daemon->{args} }[2 .. $#{ $daemon->{args} }]);
	next if $load->verify("kill $killed");
	$budget->failed($load->problems, $daemon->dir);
	diag join '; ', @story;
	diag $daemon->errors;
	last;
}
is($load->problems, '', "$killed kills, seed $seed");
pass("$load->{commands} commands, $flushes flushes, $snapshots snapshots, $jumps jumps of the clock, "
    . "$starts_killed starts cut short");

# What it left behind is sound, and small: retired files are gone.
is($daemon->stop, 0, 'stops in order');
my ($code, $out, $err) = run([program('hearth'), 'check', $daemon->dir]);
cmp_ok($code, '<=', 1, 'hearth check finds no damage') or diag $out . $err;
my @files = glob $daemon->dir . '/{log,snapshot}-*';
my $bytes = sum0 map { -s } @files;
cmp_ok(scalar(@files), '<', 3 * $killed, sprintf '%d files, %d KiB', scalar @files, $bytes / 1024);
ok(!-e $daemon->dir . '/set-aside' || !glob($daemon->dir . '/set-aside/*'), 'nothing was taken for damage')
	or diag join "\n", grep { /left out/ } split /\n/, slurp($daemon->{errors});
$budget->report('kills under load');
done_testing();
