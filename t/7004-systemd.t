#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The units under a real systemd: one of the test's own, first process of its own namespaces, over an overlay of the machine.
# What make install has put there starts inside all its shutters, says what it does, comes back after kill -9, reloads, stops;
# several at a time, as a user of no name, and behind a socket that outlives it.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(build_dir run sanitizer scratch_dir slurp spawn spew wait_until);
use Test::More;

my $systemd = '/lib/systemd/systemd';
plan skip_all => 'no systemd' unless -x $systemd;
plan skip_all => 'a sanitizer wants more than the units allow' if sanitizer();

# ---- a machine of its own ----
my $overlay = Hearth::Mount::mount('-t', 'tmpfs', '-o', 'size=512m,mode=755', 'none') or plan skip_all => 'no tmpfs';
mkdir "$overlay/$_" for qw(upper work cgroup);
my $root = Hearth::Mount::mount('-t', 'overlay', '-o', "lowerdir=/,upperdir=$overlay/upper,workdir=$overlay/work", 'none');
plan skip_all => 'no overlay' unless $root;
my ($code, $out, $err) = run(['mount', '-t', 'cgroup2', 'none', "$overlay/cgroup"]);
plan skip_all => "no cgroup2: $err" if $code;
my $group = "$overlay/cgroup/hearth-test-$$";
mkdir $group or plan skip_all => "cgroup: $!";
my $init;
END {
	my $status = $?;
	# Groups go from the inside out, when all that was in them has ended.
	if ($group && -d $group && ($ENV{HEARTH_PRIVATE_MOUNTS} // 0) == $$) {
		kill 'KILL', $init if $init;
		for (1 .. 100) {
			my @groups = reverse sort split /\n/, `find $group -type d 2>/dev/null`;
			last unless grep { !rmdir } @groups;
			select undef, undef, undef, 0.1;
		}
	}
	$? = $status;
}

($code, $out, $err) = run(['make', '-s', 'install', "DESTDIR=$root", 'PREFIX=/usr', 'SYSCONFDIR=/etc', 'UNITDIR=/etc/systemd/system',
	'BUILD=' . build_dir()], seconds => 600, env => { MAKEFLAGS => '', MAKELEVEL => '' });
die "make install: $err" if $code;
# Nothing else of the machine is to start.
system "rm -rf $root/lib/systemd/system/*.wants $root/etc/systemd/system/*.wants";
my %port = map { $_ => Hearth::Daemon::free_port() } qw(hearth two nobody);
my $sample = slurp("$root/etc/hearth/hearth.conf");
for my $name (keys %port) {
	spew("$root/etc/hearth/$name.conf", $sample =~ s/^#?\s*port\s*=.*/port = $port{$name}/mr);
}
spew("$root/etc/hearth/two.conf", slurp("$root/etc/hearth/two.conf") . "lock-memory = yes\n");
# Messages go to a file instead of a journal that does not run.
for my $unit ('hearthd.service', 'hearthd@.service') {
	mkdir "$root/etc/systemd/system/$unit.d";
	spew("$root/etc/systemd/system/$unit.d/test.conf", "[Service]\nStandardError=append:/var/messages\n");
}
my $socket_port = Hearth::Daemon::free_port();
spew("$root/etc/systemd/system/hearthd.socket", slurp("$root/etc/systemd/system/hearthd.socket") =~ s/11211/$socket_port/gr);
mkdir "$root/etc/systemd/system/hearthd\@$_.service.d" for qw(two nobody);
spew("$root/etc/systemd/system/hearthd\@two.service.d/watchdog.conf", "[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n");
spew("$root/etc/systemd/system/hearthd\@nobody.service.d/user.conf", "[Service]\nUser=\nGroup=\nDynamicUser=yes\n");
spew("$root/etc/systemd/system/test.target", "[Unit]\nDescription=nothing\n");
spew("$root/boot.sh", <<"END_OF_SCRIPT");
set -e
mount -t proc proc $root/proc
mount --rbind /sys $root/sys
mount -t cgroup2 none $root/sys/fs/cgroup
mount --rbind /dev $root/dev
mount -t tmpfs -o mode=755 none $root/run
mount -t tmpfs -o mode=1777 none $root/tmp
cd $root
mkdir -p old
pivot_root . old
umount -l /old
systemd-sysusers hearth.conf
systemd-tmpfiles --create hearth.conf
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=hearth-test $systemd --system --unit=test.target --log-target=console --log-level=notice --show-status=0
END_OF_SCRIPT
my $log = scratch_dir() . '/systemd';
my $unshare = spawn(['sh', '-c', "echo \$\$ >$group/cgroup.procs && exec unshare -m -p -f -C --kill-child --propagation private sh $root/boot.sh"],
	out => $log, err => $log);
$init = eval { wait_until('the first process', sub { slurp("/proc/$unshare/task/$unshare/children") =~ /(\d+)/ ? $1 : 0 }, 30) };
sub inside { my (@command) = @_; return run(['nsenter', '-t', $init, '-m', '-p', '-C', @command], seconds => 200); }
my $up = $init && eval { wait_until('systemd', sub { my ($c, $o) = inside('systemctl', 'is-system-running'); $o =~ /running|degraded/ }, 60) };
plan skip_all => 'systemd does not run here: ' . slurp($log) unless $up;

sub systemctl
{
	my ($what, @args) = @_;
	my ($c, $o, $e) = inside('systemctl', @args);
	is($c, 0, $what) or diag $o . $e . slurp($log) . (-e "$root/var/messages" ? slurp("$root/var/messages") : '');
	return $o;
}
sub property { my ($unit, $name) = @_; my ($c, $o) = inside('systemctl', 'show', '-p', $name, '--value', $unit); chomp $o; return $o; }

# ---- one ----
pass('systemd runs');
systemctl('started', 'start', 'hearthd');
is(property('hearthd', 'ActiveState'), 'active', 'active when start returns');
is(property('hearthd', 'StatusText'), "serving on port $port{hearth}", 'with its status');
my $client = Hearth::Client->new(port => $port{hearth});
is($client->set("k$_", "v$_"), 'STORED', "k$_ is stored") for 1 .. 3;
my ($uid) = slurp("$root/etc/passwd") =~ /^hearth:x:(\d+):/m;
is(join(' ', map { my @s = stat "$root$_"; sprintf '%o %s', $s[2] & 0777, $s[4] == $uid ? 'hearth' : $s[4] } '/var/lib/hearth/hearth', '/var/lib/hearth/hearth/MANIFEST'),
	'700 hearth 600 hearth', 'the data is the user\'s alone');
my $pid = property('hearthd', 'MainPID');
my ($c, $status) = inside('cat', "/proc/$pid/status");
my %status = $status =~ /^(\w+):\s*(.*?)\s*$/mg;
is("$status{CapEff} $status{NoNewPrivs} $status{Seccomp}", ('0' x 16) . ' 1 2', 'no capability, no new privileges, a filter on system calls');
systemctl('reloaded', 'reload', 'hearthd');
is(wait_until('its end', sub { my $s = property('hearthd', 'ActiveState'); $s eq 'active' && $s }, 30), 'active', 'and active again');
systemctl('killed', 'kill', '-s', 'KILL', 'hearthd');
wait_until('another process', sub { property('hearthd', 'MainPID') !~ /^(?:0|$pid)$/ && property('hearthd', 'ActiveState') eq 'active' }, 60);
is(property('hearthd', 'NRestarts'), 1, 'after kill -9 it was started again');
$client = Hearth::Client->new(port => $port{hearth});
is($client->get("k$_"), "v$_", "k$_ is there") for 1 .. 3;
unlike(slurp("$root/var/messages"), qr/Operation not permitted|error:/, 'the shutters are in the way of nothing');

# ---- several, one of them as a user of no name ----
systemctl('two more', 'start', 'hearthd@two', 'hearthd@nobody');
for my $name (qw(two nobody)) {
	my $other = Hearth::Client->new(port => $port{$name});
	is($other->get('k1'), undef, "$name: a cache of its own");
	is($other->set('k1', $name), 'STORED', "$name: serves");
	systemctl("$name: restarted", 'restart', "hearthd\@$name");
	is(Hearth::Client->new(port => $port{$name})->get('k1'), $name, "$name: and is warm");
}
# Two locks its memory, and has a shorter watchdog.
(undef, $status) = inside('cat', '/proc/' . property('hearthd@two', 'MainPID') . '/status');
my ($limit) = (inside('cat', '/proc/' . property('hearthd@two', 'MainPID') . '/limits'))[1] =~ /^Max locked memory\s+(\S+)/m;
if ($limit eq 'unlimited') {
	like($status, qr/^VmLck:\s+[1-9]\d{3,} kB$/m, 'memory is locked');
} else {
	like(slurp("$root/var/messages"), qr/warning: -k: memory is not locked: the limit of \d+ KiB/, 'where a machine lets nobody lock memory, it says so');
}
systemctl('the process stands still', 'kill', '-s', 'STOP', 'hearthd@two');
ok(wait_until('the watchdog', sub { property('hearthd@two', 'NRestarts') == 1 && property('hearthd@two', 'ActiveState') eq 'active' }, 60),
	'the watchdog sees that, and starts another');
is(Hearth::Client->new(port => $port{two})->get('k1'), 'two', 'which is warm');
ok(-l "$root/var/lib/hearth/nobody", 'the one of no name has its data where DynamicUser puts it');
systemctl('stopped', 'stop', 'hearthd', 'hearthd@two', 'hearthd@nobody');
is(join(' ', map { property($_, 'Result') . ' ' . property($_, 'ExecMainStatus') } 'hearthd', 'hearthd@two', 'hearthd@nobody'), join(' ', ('success 0') x 3), 'in order');

# ---- behind a socket ----
systemctl('the socket', 'start', 'hearthd.socket');
my $first = Hearth::Client->new(port => $socket_port);
is($first->get('k1'), 'v1', 'who asks starts it, and finds it warm');
$pid = property('hearthd', 'MainPID');
systemctl('killed', 'kill', '-s', 'KILL', 'hearthd');
is(Hearth::Client->new(port => $socket_port)->get('k2'), 'v2', 'who comes while nobody is there waits for the next one');
isnt(property('hearthd', 'MainPID'), $pid, 'which is another');
systemctl('stopped', 'stop', 'hearthd.socket', 'hearthd');

# ---- a configuration that makes no sense ----
spew("$root/etc/hearth/hearth.conf", "no-such-option = 1\n");
(undef, $out, $err) = inside('systemctl', 'start', 'hearthd');
is(property('hearthd', 'ExecMainStatus') . ' ' . property('hearthd', 'NRestarts'), '78 0', 'a bad configuration: 78, and no second try');
like(slurp("$root/var/messages"), qr{error: /etc/hearth/hearth\.conf line 1: no-such-option}, 'and why');
done_testing();
