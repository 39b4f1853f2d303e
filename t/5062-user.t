#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# -u: nothing of root is left. No user id, no group, no capability, and no way back; pid file and data are the user's.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(program reap run sanitizer scratch_dir slurp spawn wait_until);
use Test::More;

plan skip_all => 'only root can give up being root' if $> != 0;
my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
my $dir = scratch_dir();
chmod 0755, $dir =~ s{/[^/]*$}{}r, $dir;
mkdir "$dir/run";
chown $uid, $gid, "$dir/run";

sub start
{
	my (@prefix) = @_;
	my @lock = @prefix && $prefix[0] eq '-k' ? shift @prefix : ();
	my $errors = scratch_dir() . '/err';
	my $pid = spawn([@prefix, program('hearthd'), '-u', 'nobody', '-s', "$dir/sock", '--data-dir', "$dir/data", '-P', "$dir/run/pid", @lock],
		err => $errors);
	my $client = eval { wait_until('the socket', sub { Hearth::Client->new(unix => "$dir/sock", quiet => 1) }) } or diag slurp($errors);
	return ($pid, $client, $errors);
}

# Started with all that a root can have: groups, inheritable and ambient capabilities.
my @prefixes = (['as root is', 'setpriv', '--groups', '0,4,27'],
	['with ambient capabilities', 'setpriv', '--groups', '0,4', '--inh-caps', '+setuid,+setgid,+chown', '--ambient-caps', '+setuid,+chown']);
for (@prefixes) {
	my ($what, @prefix) = @$_;
	my ($pid, $client, $errors) = start(@prefix);
	is($client && $client->set('k', 'v'), 'STORED', "$what: serves");
	for my $task (glob "/proc/$pid/task/*") {
		my %status = slurp("$task/status") =~ /^(\w+):\s*(.*?)\s*$/mg;
		my $name = $status{Name};
		is($status{Uid}, join("\t", ($uid) x 4), "$what: $name: the user, in all four ways");
		is($status{Gid}, join("\t", ($gid) x 4), "$what: $name: the group, too");
		is($status{Groups}, $gid, "$what: $name: no other group");
		is(join(' ', map { $status{"Cap$_"} } qw(Inh Prm Eff Bnd Amb)), join(' ', ('0' x 16) x 5), "$what: $name: no capability, nor any to come");
		is($status{NoNewPrivs}, 1, "$what: $name: no program brings privileges back");
	}
	is(slurp("$dir/run/pid"), "$pid\n", "$what: the pid file");
	is((stat "$dir/run/pid")[4], $uid, "$what: is the user's");
	is((stat "$dir/data")[4], $uid, "$what: so is the data directory");
	is((stat "$dir/sock")[4], $uid, "$what: so is the socket");
	kill 'TERM', $pid;
	is(reap($pid, 60), 0, "$what: stops in order") or diag slurp($errors);
	ok(!-e "$dir/run/pid", "$what: and takes the pid file away");
}

# -k locks what it may, and serves where it may not.
for my $case (sanitizer() ? () : ([[], 'free'], [['--bounding-set', '-sys_resource'], 'bound'])) {
	my ($rights, $what) = @$case;
	my ($pid, $client, $errors) = start('-k', 'prlimit', '--memlock=8388608:8388608', 'setpriv', @$rights);
	is($client && $client->set('k', 'v'), 'STORED', "-k, $what: serves") or diag slurp($errors);
	my ($limit) = slurp("/proc/$pid/limits") =~ /^Max locked memory\s+(\S+)/m;
	if ($limit eq 'unlimited') {
		like(slurp("/proc/$pid/status"), qr/^VmLck:\s+[1-9]\d{3,} kB$/m, "-k, $what: memory is locked");
	} else {
		like(slurp($errors), qr/warning: -k: memory is not locked: the limit of 8192 KiB is less than the \d+ of -m/, "-k, $what: it says that it could not");
	}
	kill 'TERM', $pid;
	is(reap($pid, 60), 0, "-k, $what: stops in order");
}

# Where groups may not be given up, it does not start.
my ($code, $out, $err) = run(['setpriv', '--bounding-set', '-setgid', '--inh-caps', '-setgid', program('hearthd'), '-u', 'nobody', '-s', "$dir/sock", '--data-dir', 'none']);
is($code, 71, 'root without the right to change its group: 71');
like($err, qr/error: -u nobody: root's rights cannot be given up: Operation not permitted/, 'and why');
($code, $out, $err) = run([program('hearthd'), '-u', 'no-such-user', '-s', "$dir/sock", '--data-dir', 'none']);
is($code, 67, 'no such user: 67');
done_testing();
