#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The order of system calls, seen by strace: a reply leaves behind the write of its record under every policy, and
# behind its fdatasync under `always`; the directory is made durable; files are for their user alone.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(sanitizer scratch_dir slurp spawn reap wait_until);
use Test::More;

plan skip_all => 'needs strace' if sanitizer();

# Runs $code while strace looks on; returns the calls as [name, text, line begun, line done] by completion.
sub traced
{
	my ($daemon, $code) = @_;
	my $dir = scratch_dir();
	my $pid = spawn(['strace', '-f', '-y', '-s', 400, '-o', "$dir/trace", '-e',
		'trace=write,writev,pwrite64,pwritev,sendto,sendmsg,fsync,fdatasync,sync_file_range', '-p', $daemon->pid],
		err => "$dir/err");
	wait_until('strace to attach', sub { -e "$dir/err" && slurp("$dir/err") =~ /attached/ });
	select undef, undef, undef, 0.2; # every thread of it
	$code->();
	kill 'INT', $pid;
	reap($pid, 30);
	my (@calls, %begun);
	my $n = 0;
	for my $line (split /\n/, slurp("$dir/trace")) {
		$n++;
		my ($thread, $rest) = $line =~ /^(\d+) +(.*)$/ or next;
		if ($rest =~ /^(\w+)\((.*) <unfinished \.\.\.>$/) {
			$begun{$thread} = { name => $1, text => $2, begun => $n };
		} elsif ($rest =~ /^<\.\.\. (\w+) resumed>(.*)$/ && $begun{$thread}) {
			my $call = delete $begun{$thread};
			push @calls, { %$call, text => $call->{text} . $2, done => $n };
		} elsif ($rest =~ /^(\w+)\((.*)$/) {
			push @calls, { name => $1, text => $2, begun => $n, done => $n };
		}
	}
	return @calls;
}

sub to_log { return $_->{name} =~ /^p?write/ && $_->{text} =~ m{^\d+<[^>]*/log-\d+>}; }
sub log_sync { return $_->{name} =~ /^f(?:data)?sync$/ && $_->{text} =~ m{^\d+<[^>]*/log-\d+>}; }
sub reply { return $_->{text} =~ /^\d+<(?:TCP|socket)/ && $_->{text} =~ /STORED|DELETED|NOT_FOUND/; }

for my $policy (qw(always everysec os)) {
	my $daemon = Hearth::Daemon->start(args => ['--fsync', $policy, '-t', 2]);
	my $client = $daemon->client;
	my $n = 20;
	my @calls = traced($daemon, sub {
		for (1 .. $n) {
			$client->set("order-$_-", "value-$_");
			$client->ask("delete miss-$_-\r\n");
		}
	});
	my @replies = grep { reply() } @calls;
	is(scalar @replies, 2 * $n, "$policy: $n stores and $n deletes that miss are answered");
	my ($unwritten, $unsynced) = (0, 0);
	for my $i (0 .. $#replies) {
		my $key = ($i % 2 ? 'miss-' : 'order-') . (1 + int $i / 2) . '-';
		my ($write) = grep { to_log() && $_->{text} =~ /\Q$key\E/ } @calls;
		if (!$write || $write->{done} > $replies[$i]{begun}) {
			$unwritten++;
			next;
		}
		$unsynced++ unless grep { log_sync() && $_->{begun} > $write->{done} && $_->{done} < $replies[$i]{begun} } @calls;
	}
	is($unwritten, 0, "$policy: each record is written before its reply leaves");
	is($unsynced, 0, 'always: and synced') if $policy eq 'always';
	cmp_ok($unsynced, '>=', 2 * $n - 2, "$policy: no reply waits for a sync") if $policy ne 'always';
	if ($policy eq 'everysec') {
		@calls = traced($daemon, sub {
			$client->set('late', 1);
			my $end = $client->stats('persist');
			wait_until('a sync', sub {
				my %s = %{ $client->stats('persist') };
				my ($durable) = grep { /durable/ } keys %s;
				return $s{$durable} >= ($s{ (grep { /written/ && /seq|number/ } keys %s)[0] } // 0);
			}, 10);
		});
		cmp_ok(scalar(grep { log_sync() } @calls), '>=', 1, 'everysec: a sync follows by itself');
	}
	if ($policy eq 'os') {
		is(scalar(grep { log_sync() } @calls), 0, 'os: none does');
	}
	is($daemon->stop, 0, 'stops in order');
}
done_testing();
