# SPDX-License-Identifier: BSD-3-Clause
# Programs started by tests: each is known by its pid, dies with the test whatever becomes of it, and is looked
# through for a sanitizer's report when it ends.
package Hearth::Process;
use strict;
use warnings;
use Carp qw(croak);
use Exporter 'import';
use File::Temp qw(tempdir);
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(build_dir program inheriting scratch_dir spawn reap alive run slurp spew wait_until tree_digest remove_dir
    sanitizer long_run nothing_reported);

my $owner = $$;
my %live;
my $scratch;
my $scratch_count = 0;

# Tests end by exit also on a signal, so that END runs.
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
$SIG{PIPE} = 'IGNORE';

END {
	if ($$ == $owner) {
		my $status = $?;
		kill 'KILL', $_ for keys %live;
		waitpid $_, 0 for keys %live;
		$? = $status;
	}
}

sub build_dir { return $ENV{HEARTH_BUILD} // 'build'; }
sub program { my ($name) = @_; return build_dir() . "/$name"; }
sub sanitizer { return $ENV{HEARTH_SANITIZER} // ''; }
sub long_run { return $ENV{HEARTH_LONG} ? 1 : 0; }

# A new empty directory of the test's own, removed at its end.
sub scratch_dir
{
	$scratch //= tempdir('hearth-test-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my $dir = "$scratch/" . ++$scratch_count;
	mkdir $dir or croak "$dir: $!";
	return $dir;
}

# Long drivers make thousands of directories: each goes when it has been looked at.
sub remove_dir { my ($dir) = @_; require File::Path; File::Path::remove_tree($dir) if $dir =~ /hearth-test-/; return; }

sub slurp
{
	my ($path) = @_;
	open my $f, '<:raw', $path or croak "$path: $!";
	local $/;
	my $text = <$f>;
	return $text // '';
}

sub spew
{
	my ($path, $bytes) = @_;
	open my $f, '>:raw', $path or croak "$path: $!";
	print {$f} $bytes;
	close $f or croak "$path: $!";
	return;
}

# prctl(PR_SET_PDEATHSIG, SIGKILL): also when the test itself is killed.
sub die_with_parent
{
	my %number = (x86_64 => 157, aarch64 => 167);
	my $machine = (POSIX::uname())[4];
	syscall $number{$machine}, 1, 9, 0, 0, 0 if $number{$machine};
	return;
}

# Starts @command with standard input from /dev/null, output to the file `out`, messages to `err`. Returns the pid.
sub spawn
{
	my ($command, %to) = @_;
	my $pid = fork // croak "fork: $!";
	if (!$pid) {
		die_with_parent();
		open STDIN, '<', $to{in} // '/dev/null';
		open STDOUT, '>', $to{out} // '/dev/null';
		open STDERR, '>>', $to{err} if $to{err};
		$ENV{$_} = $to{env}{$_} for keys %{ $to{env} // {} };
		chdir $to{chdir} if $to{chdir};
		exec @$command or print STDERR "$command->[0]: $!\n";
		POSIX::_exit(127);
	}
	$live{$pid} = 1;
	return $pid;
}

# The wait status of a child that ends within $seconds; undef when it does not.
sub reap
{
	my ($pid, $seconds) = @_;
	my $end = time + ($seconds // 60);
	while (1) {
		my $got = waitpid $pid, WNOHANG;
		if ($got == $pid) {
			delete $live{$pid};
			return $?;
		}
		croak "no such child: $pid" if $got < 0;
		return undef if time > $end;
		sleep 0.003;
	}
}

sub alive { my ($pid) = @_; return $live{$pid} && kill 0, $pid; }

# What stands before a command that is to get these descriptors from 3 on, as a parent hands over listening sockets: LISTEN_FDS
# says how many, LISTEN_PID for which process. Both can be made to lie.
sub inheriting
{
	my ($fds, $count, $pid) = @_;
	my $wrapper = 'use POSIX; my $n = shift; my @fd = split /,/, shift; my ($count, $pid) = (shift, shift);'
	    . 'POSIX::dup2($fd[$_], 50 + $_) for 0 .. $#fd; POSIX::dup2(50 + $_, 3 + $_) for 0 .. $#fd;'
	    . '$ENV{LISTEN_FDS} = $count; $ENV{LISTEN_PID} = $pid || $$; exec @ARGV;';
	return ('perl', '-e', $wrapper, scalar @$fds, join(',', @$fds), $count // scalar @$fds, $pid // 0);
}

# Runs a program to its end: its exit code (128 + n for a signal), output and messages.
sub run
{
	my ($command, %to) = @_;
	my $dir = scratch_dir();
	my $pid = spawn($command, %to, out => "$dir/out", err => "$dir/err");
	my $status = reap($pid, $to{seconds} // 120);
	if (!defined $status) {
		kill 'KILL', $pid;
		$status = reap($pid, 60);
		croak "@$command: did not end within " . ($to{seconds} // 120) . " s: " . slurp("$dir/err");
	}
	my $code = $status & 127 ? 128 + ($status & 127) : $status >> 8;
	my ($out, $err) = (slurp("$dir/out"), slurp("$dir/err"));
	nothing_reported($err);
	return ($code, $out, $err);
}

# Dies with the report when a sanitizer found something.
sub nothing_reported
{
	my ($text) = @_;
	if ($text =~ /((?:==\d+==\s*ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:).*)/s) {
		croak 'a sanitizer reports: ' . substr $1, 0, 6000;
	}
	return;
}

# Tries $code every few milliseconds until it returns a true value; dies after $seconds.
sub wait_until
{
	my ($what, $code, $seconds) = @_;
	my $end = time + ($seconds // 30);
	while (1) {
		my $value = $code->();
		return $value if $value;
		croak "waited too long for: $what" if time > $end;
		sleep 0.005;
	}
}

# Names, modes and contents of all files below a directory, as one text: equal before and after when nothing changed.
sub tree_digest
{
	my ($dir) = @_;
	require Digest::SHA;
	require File::Find;
	my @lines;
	my $visit = sub {
		my $path = $File::Find::name;
		my @st = lstat $path;
		my $mode = sprintf '%o', $st[2];
		my $sum = -f _ ? Digest::SHA->new(256)->addfile($path, 'b')->hexdigest : '-';
		push @lines, "$path $mode $sum\n";
	};
	File::Find::find({ wanted => $visit, no_chdir => 1 }, $dir);
	return join '', sort @lines;
}

1;
