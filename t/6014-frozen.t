#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A disk that stands still, made by holding each write to the log for seconds: reads go on, with one thread; no client is
# shown a change that a kill could still take back.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(sanitizer scratch_dir slurp spawn reap wait_until);
use IO::Select;
use Test::More;

plan skip_all => 'needs strace' if sanitizer();

my $hold = 4_000_000; # microseconds

# strace holds every write to the log from now on.
sub freeze
{
	my ($daemon) = @_;
	my $dir = scratch_dir();
	my @logs = map { ('-P', $_) } glob $daemon->dir . '/log-*';
	my $pid = spawn(['strace', '-f', '-o', "$dir/trace", @logs, '-e', 'trace=write,writev,pwrite64,pwritev,pwritev2', '-e',
		"inject=write,writev,pwrite64,pwritev,pwritev2:delay_enter=$hold", '-p', $daemon->pid], err => "$dir/err");
	wait_until('strace to attach', sub { -e "$dir/err" && slurp("$dir/err") =~ /attached/ });
	select undef, undef, undef, 0.2;
	return $pid;
}

sub answered { my ($client) = @_; return IO::Select->new($client->socket)->can_read(0); }

# One client sends $change; others look at `k` meanwhile. If a look shows the change, a kill must not take it back.
my @cases = (
	['an overwritten value', "set k 0 0 3\r\nnew\r\n"],
	['a deleted key', "delete k\r\n"],
	['a flushed key', "flush_all\r\n"],
	['a key touched into the past', "touch k -1\r\n"],
	['a counted number', "incr k 5\r\n"],
);
for (@cases) {
	my ($what, $change) = @$_;
	my $daemon = Hearth::Daemon->start(args => ['-t', 1]);
	my ($writer, $looker, $other) = map { $daemon->client } 1 .. 3;
	$writer->set('k', 10);
	$writer->set('rest', 'r');
	my $strace = freeze($daemon);
	$writer->put($change);
	select undef, undef, undef, 0.1;
	$looker->put("get k\r\n");
	is($other->get('rest'), 'r', "$what: others read on, with -t 1") if $what !~ /flushed/;
	ok(!answered($writer), "$what: the change is not acknowledged while its write stands still");
	select undef, undef, undef, 0.2;
	if (answered($looker)) {
		my $line = $looker->line;
		my $shown = $line eq 'END' ? undef : $looker->line;
		$daemon->kill9;
		kill 'KILL', $strace;
		reap($strace, 30);
		$daemon->up;
		my $now = $daemon->client->get('k');
		is($now, $shown, "$what: what was shown is kept");
	} else {
		pass("$what: the look waits");
		$daemon->kill9;
		kill 'KILL', $strace;
		reap($strace, 30);
		$daemon->up;
	}
	is($daemon->stop, 0, "$what: stops in order");
}
done_testing();
