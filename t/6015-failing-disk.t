#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A disk that fails, made by strace: from then on no success is answered for a change that depends on it, reads go on,
# the daemon stays up and says what is wrong; what was acknowledged before is there after a restart, and nothing of what
# was refused is.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(sanitizer scratch_dir slurp spawn reap wait_until);
use Test::More;

plan skip_all => 'needs strace' if sanitizer();

# From now on these calls on the log fail so.
sub break_calls
{
	my ($daemon, $calls, $error) = @_;
	my $dir = scratch_dir();
	my @logs = map { ('-P', $_) } glob $daemon->dir . '/log-*';
	my $pid = spawn(['strace', '-f', '-o', "$dir/trace", @logs, '-e', "trace=$calls", '-e', "inject=$calls:error=$error", '-p',
		$daemon->pid], err => "$dir/err");
	wait_until('strace to attach', sub { -e "$dir/err" && slurp("$dir/err") =~ /attached/ });
	select undef, undef, undef, 0.2;
	return ($pid, "$dir/trace");
}

# What a command is answered on a connection of its own; '' when the connection is closed instead.
sub answer { my ($daemon, $command) = @_; return eval { $daemon->client->ask($command) } // ''; }

for (['write,writev,pwrite64,pwritev', 'ENOSPC', 'os'], ['write,writev,pwrite64,pwritev', 'EIO', 'everysec'],
    ['fdatasync,fsync', 'EIO', 'always'], ['fdatasync,fsync', 'EIO', 'everysec']) {
	my ($calls, $error, $policy) = @$_;
	my $what = ($calls =~ /write/ ? 'write' : 'sync') . " fails with $error, --fsync $policy";
	my $daemon = Hearth::Daemon->start(args => ['--fsync', $policy, '-t', 2]);
	my $client = $daemon->client;
	$client->set("k$_", "old$_") for 1 .. 10;
	my ($strace, $trace) = break_calls($daemon, $calls, $error);
	my (%acknowledged, %refused);
	my $set = sub {
		my ($n) = @_;
		my $got = answer($daemon, "set k$n 0 0 3\r\nnew\r\n");
		$got eq 'STORED' ? ($acknowledged{$n} = 1) : ($refused{$n} = $got);
		return $got;
	};
	if ($policy eq 'everysec' && $calls =~ /sync/) {
		# A second may pass before the first sync: what is acknowledged until then is lost with the power only.
		wait_until("$what: a change is refused", sub { $set->(1) ne 'STORED' }, 20);
		delete $acknowledged{1};
		delete $refused{1};
	}
	$set->($_) for 2 .. 5;
	is(join(' ', sort keys %acknowledged), '', "$what: no success is answered");
	my @odd = grep { $_ ne '' && !/^SERVER_ERROR / } values %refused;
	is("@odd", '', "$what: an error, or the connection is closed");
	my $reader = $daemon->client;
	is($reader->get("k$_"), "old$_", "$what: reads go on: k$_") for 6, 10;
	my $persist = $reader->stats('persist');
	is($persist->{degraded}, 'yes', "$what: stats persist says so");
	like($daemon->errors, qr/log-\d+|disk|$error|No space|Input\/output/i, "$what: and a message") or diag $daemon->errors;
	$daemon->kill9;
	kill 'KILL', $strace;
	reap($strace, 30);
	$daemon->up;
	my $items = $daemon->client->items('get ' . join ' ', map { "k$_" } 1 .. 10);
	my @lost = grep { !$items->{"k$_"} } 6 .. 10;
	is("@lost", '', "$what: after a restart what was acknowledged is there");
	my @wrong = grep { my $i = $items->{"k$_"}; $i && $i->{value} !~ /^(?:old$_|new)$/ } 1 .. 10;
	is("@wrong", '', "$what: nothing else");
	is($daemon->stop, 0, "$what: stops in order");
}
done_testing();
