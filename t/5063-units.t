#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The units for systemd: its own programs read them, find them well shut in, and make the user and the directories. What the unit
# runs, serves as a user that no table knows, below the links that DynamicUser makes.
use strict;
use warnings;
use lib 't/lib';
use Cwd qw(abs_path);
use Hearth::Client;
use Hearth::Notify;
use Hearth::Process qw(build_dir program reap run scratch_dir slurp spawn spew wait_until);
use Test::More;

my $exposure_max = 1.5;
my $dir = scratch_dir();
my $root = abs_path('.');
my $build = build_dir() =~ m{^/} ? build_dir() : "$root/" . build_dir();
my ($code, $out, $err) = run(['make', '-s', 'placed', "BUILD=$dir", "SBINDIR=$build", "SYSCONFDIR=$dir/etc"], env => { MAKEFLAGS => '', MAKELEVEL => '' });
is($code, 0, 'the units are given their places') or diag $err;
my %unit = map { $_ => slurp("$dir/placed/$_") } qw(hearthd.service hearthd@.service hearthd.socket);
unlike(join('', values %unit), qr/\@[A-Z]+\@/, 'no place is left open');

# ---- the two services are one ----
my $single = $unit{'hearthd.service'} =~ s/^(?:#.*\n)+//r;
my $several = $unit{'hearthd@.service'} =~ s/^(?:#.*\n)+//r;
is($several =~ s/ \(%i\)//r =~ s/%i/hearth/gr, $single, 'hearthd@NAME is as hearthd, with a name');

# ---- systemd's own judgement ----
SKIP: {
	skip 'no systemd-analyze', 6 unless grep { -x "$_/systemd-analyze" } split /:/, $ENV{PATH};
	for my $name ('hearthd.service', 'hearthd@one.service', 'hearthd.socket') {
		($code, $out, $err) = run(['systemd-analyze', 'verify', '--man=no', '--recursive-errors=no', "$dir/placed/$name"]);
		is("$code$out$err", '0', "systemd-analyze verify $name");
	}
	for my $name ('hearthd.service', 'hearthd@.service') {
		($code, $out, $err) = run(['systemd-analyze', 'security', '--offline=yes', '--no-pager', "$dir/placed/$name"]);
		my ($exposure) = $out =~ /Overall exposure level for \S+: ([0-9.]+)/;
		ok(defined $exposure && $exposure <= $exposure_max, "$name: exposure " . ($exposure // '?') . " is at most $exposure_max") or diag $out . $err;
	}
	# The judgement can fail.
	mkdir "$dir/open";
	spew("$dir/open/hearthd.service", $single =~ s/^(?:Protect|Private|Restrict|SystemCall|Capability).*\n//gmr);
	($code, $out) = run(['systemd-analyze', 'security', '--offline=yes', '--no-pager', "$dir/open/hearthd.service"]);
	my ($exposure) = $out =~ /Overall exposure level for \S+: ([0-9.]+)/;
	cmp_ok($exposure, '>', $exposure_max, "without its shutters: $exposure");
}
like($single, qr/^Type=notify$/m, 'it tells when it is ready');
like($single, qr/^WatchdogSec=\d+$/m, 'and is watched');
my ($bound) = $single =~ /^TimeoutStopSec=(\d+)$/m;
my ($own) = do { ($code, $out) = run([program('hearthd'), '--help']); $out =~ /--stop-timeout=\S+ .*default: (\d+)/ };
cmp_ok($bound, '>', $own, "a stop ends by itself ($own s) before systemd ends it ($bound s)");
my %no_restart = map { $_ => 1 } split ' ', ($single =~ /^RestartPreventExitStatus=(.*)$/m)[0];
is(join(' ', sort keys %no_restart), '64 65 67 78', 'what another start would not change is not started again');

# ---- user and directories ----
SKIP: {
	skip 'no systemd-sysusers, or not root', 4 if $> != 0 || !grep { -x "$_/systemd-sysusers" } split /:/, $ENV{PATH};
	mkdir "$dir/root";
	mkdir "$dir/root/$_" for qw(etc var var/lib run);
	($code, $out, $err) = run(['systemd-sysusers', "--root=$dir/root", "$root/etc/hearth.sysusers"]);
	is($code, 0, 'sysusers') or diag $err;
	my ($uid, $gid) = slurp("$dir/root/etc/passwd") =~ /^hearth:x:(\d+):(\d+):[^:]*:\/var\/lib\/hearth:\S*nologin$/m;
	ok($uid && $gid, 'makes the user of the units');
	($code, $out, $err) = run(['systemd-tmpfiles', '--create', "--root=$dir/root", "$root/etc/hearth.tmpfiles"]);
	is($code, 0, 'tmpfiles') or diag $err;
	is(join(' ', map { my @s = stat "$dir/root/$_"; sprintf '%o %d', $s[2] & 07777, $s[4] } 'var/lib/hearth', 'run/hearth'), "755 0 755 $uid",
		'makes the directories');
}

# ---- what the unit runs ----
SKIP: {
	skip 'only root can become nobody known', 5 if $> != 0;
	my $uid = 64_321; # of those that DynamicUser takes: in no table
	chmod 0755, $dir =~ s{/[^/]*$}{}r, $dir;
	mkdir "$dir/$_" for qw(private state private/hearth);
	chown $uid, $uid, "$dir/private/hearth";
	symlink '../private/hearth', "$dir/state/hearth" or die $!;
	my $manager = Hearth::Notify->new;
	chmod 0777, $manager->address;
	chmod 0711, $manager->address =~ s{/[^/]*$}{}r;
	my ($command) = $single =~ m{^ExecStart=(.*)$}m;
	my @command = split ' ', $command;
	is($command[0], "$build/hearthd", 'the unit runs the program that was built');
	like($command[1], qr{^--config=\Q$dir\E/etc/hearth/hearth\.conf$}, 'with its configuration');
	mkdir "$dir/etc";
	mkdir "$dir/etc/hearth";
	spew("$dir/etc/hearth/hearth.conf", slurp("$root/etc/hearth.conf") . "unix-socket = $dir/private/hearth/sock\n");
	my $errors = scratch_dir() . '/err';
	my $pid = spawn(['setpriv', '--reuid', $uid, '--regid', $uid, '--clear-groups', '--inh-caps', '-all', '--bounding-set', '-all', '--no-new-privs',
		'env', '-i', 'NOTIFY_SOCKET=' . $manager->address, "HEARTH_DATA_DIR=$dir/state/hearth/data", @command], err => $errors, chdir => '/');
	ok($manager->await(qr/READY=1/, 60), 'ready, as a user of no name') or diag slurp($errors);
	my $client = Hearth::Client->new(unix => "$dir/private/hearth/sock", quiet => 1);
	is($client && $client->set('k', 'v'), 'STORED', 'serves');
	kill 'TERM', $pid;
	is(reap($pid, 60), 0, 'and stops in order') or diag slurp($errors);
}
done_testing();
