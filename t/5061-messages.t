#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The form of messages: a time in front, priorities for the journal, JSON; never a raw control byte. Nobody who does not read them
# stops the daemon.
use strict;
use warnings;
use lib 't/lib';
use Encode ();
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(program reap run scratch_dir slurp spawn spew wait_until);
use JSON::PP ();
use POSIX qw(mkfifo);
use Test::More;

my $time = qr/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/;
my @user = $> == 0 ? ('-u', 'root') : ();

# A start that cannot be: what it says of a directory whose name nobody would like to see raw.
my $scratch = scratch_dir();
my $odd = "$scratch/\e[31m\n\t\"quoted\\\" \x7f \xff \xc2\x9b \xc3\xa9/data";
sub refused { my (@args) = @_; return run([program('hearthd'), '-p', 0, @user, '--data-dir', $odd, @args]); }

my ($code, $out, $err) = refused();
is($code, 74, 'a directory that cannot be made');
like($err, qr/\A$time hearthd: error: /, 'text: the time, the program, how bad it is');
unlike($err, qr/[\x00-\x09\x0b-\x1f\x7f]/, 'no control byte is printed raw');
is($err =~ tr/\n//, 1, 'one line');
like($err, qr/\\x1b\[31m\\x0a\\x09"quoted\\" \\x7f \\xff \\xc2\\x9b \xc3\xa9/, 'but as \xNN');
my $text = $err =~ s/\A$time hearthd: error: //r =~ s/\n\z//r;

($code, $out, $err) = refused('--log-format=json');
is($code, 74, 'the same in JSON');
unlike($err, qr/[\x00-\x09\x0b-\x1f\x7f]/, 'no control byte either');
my $object = eval { JSON::PP->new->utf8->decode($err) } // {};
is(join(' ', sort keys %$object), 'level message pid program time', 'an object with these names') or diag $err;
is("$object->{level} $object->{program}", 'error hearthd', 'level and program');
like($object->{time}, qr/^$time\z/, 'the time');
is(Encode::encode('UTF-8', $object->{message} // ''), $text, 'and the same text');

# ---- a whole life in JSON ----
my $daemon = Hearth::Daemon->start(args => ['--log-format', 'json']);
my $pid = $daemon->pid;
$daemon->stop;
my @objects = map { JSON::PP->new->utf8->decode($_) } split /\n/, $daemon->errors;
cmp_ok(scalar @objects, '>=', 3, 'each line of a daemon is an object');
is(scalar(grep { $_->{pid} != $pid || $_->{level} ne 'info' } @objects), 0, 'of this process, and none is a warning');
ok((grep { $_->{message} =~ /^serving on port \d+$/ } @objects), 'among them that it serves');

# ---- the journal's stream ----
# Standard error is a file here; the journal is told by device and inode.
sub start_with
{
	my ($stream, @args) = @_;
	my $errors = scratch_dir() . '/err';
	spew($errors, '');
	my ($device, $inode) = (stat $errors)[0, 1];
	$pid = spawn([program('hearthd'), '-p', 0, @user, '--data-dir', $odd, '-f', '1.1', @args], err => $errors,
		env => { JOURNAL_STREAM => $stream eq 'own' ? "$device:$inode" : $stream eq 'other' ? "$device:" . ($inode + 1) : $stream });
	reap($pid, 60);
	return grep { !/running as root/ } split /\n/, slurp($errors);
}
my @lines = start_with('own');
like($lines[-1], qr/\A<3>error: \Q$scratch\E/, 'the journal: a priority, no time and no name');
@lines = start_with('own', '--log-format=json');
like($lines[-1], qr/\A<3>\{"time":"$time","level":"error",/, 'JSON for the journal');
for my $stream ('other', '', 'x', '1:1:1') {
	@lines = start_with($stream);
	like($lines[-1], qr/\A$time hearthd: error: /, "JOURNAL_STREAM '$stream': not the journal");
}

# ---- no standard streams: nothing else is taken for them ----
my $bare = Hearth::Daemon->start(prefix => ['/bin/sh', '-c', 'exec "$0" "$@" 0<&- 1>&- 2>&-'], args => ['--http', 0]);
my %fd = map { $_ => readlink '/proc/' . $bare->pid . "/fd/$_" } 0 .. 2;
is(join(' ', map { $fd{$_} // 'closed' } 0 .. 2), '/dev/null /dev/null /dev/null', 'they are nothing');
for (1 .. 5) {
	kill 'HUP', $bare->pid;
	is($bare->client->set("k$_", 'x'), 'STORED', 'it serves');
}
is($bare->stop, 0, 'and stops in order');
is((run([program('hearth'), 'check', $bare->dir]))[0], 0, 'its files are in order');
$daemon->up;
($code, undef, $err) = run(['/bin/sh', '-c', 'exec "$0" "$@" <&-', program('hearth'), 'import', '--server', '127.0.0.1:' . $daemon->port, '-']);
is($code, 74, 'nor does the tool read what is not there');
like($err, qr/standard input.*Bad file descriptor/, 'and says so');
$daemon->stop;

# ---- nobody reads ----
my $fifo = "$scratch/fifo";
mkfifo($fifo, 0600) or die "mkfifo: $!";
open my $end, '+<', $fifo or die "$fifo: $!";
fcntl $end, 1031, 4096 or die "F_SETPIPE_SZ: $!";
my $port = Hearth::Daemon::free_port();
$pid = spawn([program('hearthd'), '-l', '127.0.0.1', '-p', $port, @user, '--data-dir', 'none'], err => $fifo);
my $client = wait_until('a client', sub { Hearth::Client->new(port => $port, quiet => 1) }, 60);
like($client->ask("version\r\n"), qr/^VERSION/, 'it serves');
my $flags = fcntl $end, F_GETFL, 0;
fcntl $end, F_SETFL, $flags | O_NONBLOCK;
for my $size (4096, 1) {
	1 while syswrite $end, 'x' x $size;
}
# The main thread says something of each and, after the first, takes new clients as before.
for (1 .. 3) {
	kill 'HUP', $pid;
	my $other = Hearth::Client->new(port => $port);
	like($other->ask("version\r\n"), qr/^VERSION/, 'clients are let in while its messages are not read');
}
my $all = '';
ok(wait_until('what was lost', sub {
	kill 'HUP', $pid;
	$all .= $_ while sysread $end, $_, 4096;
	return $all =~ /warning: \d+ messages before this one are lost/;
}, 60), 'once they are, it says how many are lost');
kill 'TERM', $pid;
is(reap($pid, 60), 0, 'it stops in order');

($code, $out, $err) = run([program('hearthd'), '--log-format=xml']);
is($code, 64, 'another format: 64');
is($err, "hearthd: error: --log-format xml: must be one of text|json\n", 'told to who typed it, without a time');
done_testing();
