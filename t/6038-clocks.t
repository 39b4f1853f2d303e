#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Clocks that step, made by a library loaded before the daemon (lib/wall-clock.c): by a second to 70 years, back and forth, to 1970, 2038 and 2106, while the daemon
# runs and while it is down, under any TZ. While it runs no item expires early or stays late: Hearth time goes on by
# itself. Over a restart the wall clock counts when it is ahead of what the log knows; when it is behind, nothing that had
# expired, was deleted or was overwritten comes back, and no item is lost. Items without an expiry are never touched.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Process qw(remove_dir run sanitizer scratch_dir);
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'a sanitizer wants to be loaded first' if sanitizer() && sanitizer() ne 'coverage';
my $library = scratch_dir() . '/wall-clock.so';
my ($failed, undef, $why) = run(['gcc', '-O1', '-shared', '-fPIC', '-o', $library, 't/lib/wall-clock.c']);
BAIL_OUT("t/lib/wall-clock.c: $why") if $failed;

my $budget = Hearth::Budget->new(share => 0.05);
my ($hour, $year) = (3600, 31_556_952);
my @steps = (1, $hour, $year, 70 * $year);
my @zones = ('UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Kiritimati', ':/nowhere');
my $now = int time;
my @absolute = (0, 1, 2_147_483_600, 2_147_483_648, 4_294_967_290, 4_294_967_300); # 1970, 2038, 2106
sub pick { return $_[rand @_]; }

# The offset of the daemon's wall clock from the real one: changed while it runs by the file.
package Wall {
	sub new { my ($class, $file) = @_; my $self = bless { file => $file, offset => 0 }, $class; return $self->set(0); }
	sub set
	{
		my ($self, $offset) = @_;
		$self->{offset} = int $offset;
		open my $f, -e $self->{file} ? '+<' : '>', $self->{file} or die "$self->{file}: $!";
		syswrite $f, pack 'q<', $self->{offset}; # in one call: the daemon has the page mapped
		close $f;
		return $self;
	}
	sub env
	{
		my ($self, $zone) = @_;
		return { LD_PRELOAD => $library, HEARTH_WALL_OFFSET => $self->{file}, TZ => $zone };
	}
	# What it shows now.
	sub now { my ($self) = @_; return Time::HiRes::time() + $self->{offset}; }
}

# Steps that are drawn: from the present offset to one elsewhere.
sub drawn_offset
{
	my ($wall) = @_;
	return pick(@absolute) - $now if rand() < 0.3;
	my $step = pick(@steps) * pick(-1, 1);
	my $to = $wall->{offset} + $step;
	my $at = $now + $to;
	return $at < 0 || $at > 4_300_000_000 ? $step : $to;
}

# The keys: kept for ever, with an expiry far away, with one that is soon, deleted, overwritten, expired over old.
my @times = (2, 100, 3000, 100_000);
sub fill
{
	my ($client, $round) = @_;
	$client->set("ever$_", "v$round") for 1 .. 3;
	$client->set("t$_", "v$round", exptime => $_) for @times;
	$client->set('gone', 'old');
	$client->ask("delete gone\r\n");
	$client->set('over', 'old');
	$client->set('over', 'new', exptime => 2);
	return;
}

sub one
{
	my ($index) = @_;
	my $wall = Wall->new(scratch_dir() . '/clock');
	$wall->set(drawn_offset($wall)) if rand() < 0.5;
	my $daemon = Hearth::Daemon->start(args => ['-m', 64, '-t', 1, '--fsync', pick(qw(always everysec os)),
		'--snapshot-interval', 0], env => $wall->env(pick(@zones)));
	my @problems;
	my $hearth = $wall->now; # what Hearth time must be now, more or less
	for my $round (1 .. 3) {
		my @story = (sprintf 'case %d, round %d: clock at %.0f', $index, $round, $wall->now);
		my $begun = time;
		my $started = $hearth;
		my $client = $daemon->client;
		fill($client, $round);
		my $filled = time;
		if (rand() < 0.7) {
			$wall->set(drawn_offset($wall));
			push @story, sprintf 'steps to %.0f while it runs', $wall->now;
			sleep 0.02;
		}
		kill 'USR2', $daemon->pid if rand() < 0.3;
		my $items = $client->items('get ' . join ' ', map { "t$_" } @times);
		push @problems, map { join ', ', @story, "t$_ is gone after " . (time - $begun) . ' s' }
		    grep { !$items->{"t$_"} && time - $begun < $_ - 1 } @times;
		if (rand() < 0.4) {
			sleep 3.1 - (time - $filled) if time - $filled < 3.1;
			push @problems, join ', ', @story, "$_ is there after its time" for grep { defined $client->get($_) } qw(t2 over);
			push @story, 'saw t2 and over expire';
		}
		my $expired = $story[-1] =~ /^saw/;
		push @problems, join ', ', @story, 'a key without expiry is gone' if keys %{ $client->items('get ever1 ever2 ever3') } != 3;
		my $ran = time - $begun;
		rand() < 0.5 ? $daemon->kill9 : $daemon->stop;
		if (rand() < 0.7) {
			$wall->set(drawn_offset($wall));
			push @story, sprintf 'steps to %.0f while it is down', $wall->now;
		}
		$budget->case($daemon->dir);
		my $before = $started + $ran; # Hearth time at the end
		$daemon->{env} = $wall->env(pick(@zones));
		$daemon->up;
		$client = $daemon->client;
		$hearth = $wall->now > $before ? $wall->now : $before;
		my $passed = $hearth - $started;
		# A clock set back by more than a day: the daemon may find that the data's time was the mad one, and says so
		# (hearthd(8), TIME). All is judged by that first, and time goes on with the clock.
		if ($before - $wall->now > 86_400 && $daemon->errors =~ /more than a day ahead of the clock and of other/) {
			$hearth = $wall->now;
			push @story, 'set back';
		}
		$items = $client->items('get ever1 ever2 ever3 gone over ' . join ' ', map { "t$_" } @times);
		push @story, sprintf 'up after %.0f s of Hearth time', $passed;
		push @problems, map { join ', ', @story, "$_ is not what it was" } grep { !$items->{$_} || $items->{$_}{value} ne "v$round" }
		    qw(ever1 ever2 ever3);
		push @problems, join ', ', @story, 'a deleted key is back' if $items->{gone};
		push @problems, join ', ', @story, 'an overwritten value is back' if $items->{over} && $items->{over}{value} ne 'new';
		push @problems, join ', ', @story, 'an expired item is back' if $expired && ($items->{t2} || $items->{over});
		for my $t (@times) {
			push @problems, join ', ', @story, "t$t is there after its time" if $items->{"t$t"} && $passed > $t + 2;
			push @problems, join ', ', @story, "t$t is gone before its time" if !$items->{"t$t"} && $passed < $t - 2;
		}
		last if @problems;
	}
	$daemon->kill9;
	$budget->failed(join("\n", @problems), $daemon->dir) if @problems;
	remove_dir($daemon->dir);
	return;
}
my $done = $budget->each_case(1000, \&one);
note "$done directories of three rounds";
$budget->report('steps of the clock');
done_testing();
