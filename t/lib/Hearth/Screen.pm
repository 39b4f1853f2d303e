# SPDX-License-Identifier: BSD-3-Clause
# A terminal of the test's own: a program runs in it, what it draws is kept as rows of text. It knows what a vt100 knows, as far
# as ncurses uses it, and remembers what it does not know.
package Hearth::Screen;
use strict;
use warnings;
use Carp qw(croak);
use IO::Pty;
use IO::Select;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(time);

# Hearth::Screen->run([command], rows => 24, columns => 80).
sub run
{
	my ($class, $command, %arg) = @_;
	my $pty = IO::Pty->new;
	my $self = bless { pty => $pty, rows => $arg{rows} // 24, columns => $arg{columns} // 80, unknown => '', raw => '' }, $class;
	my $slave = $pty->slave;
	$self->size;
	$self->clear;
	$self->{before} = $self->modes;
	my $pid = fork // croak "fork: $!";
	if ($pid == 0) {
		$pty->make_slave_controlling_terminal;
		close $pty;
		open STDIN, '<&', $slave->fileno or die;
		open STDOUT, '>&', $slave->fileno or die;
		open STDERR, '>&', $slave->fileno or die;
		$ENV{TERM} = $arg{term} // 'vt100';
		delete @ENV{qw(LINES COLUMNS)};
		exec @$command or die "exec: $!";
	}
	$self->{pid} = $pid;
	return $self;
}

sub size { my ($self) = @_; $self->{pty}->slave->set_winsize($self->{rows}, $self->{columns}); return; }
sub clear { my ($self) = @_; $self->{screen} = [map { ' ' x $self->{columns} } 1 .. $self->{rows}]; @$self{qw(at top bottom)} = ([0, 0], 0, $self->{rows} - 1); return; }

# Local and input modes of the terminal: what a program must give back.
sub modes
{
	my ($self) = @_;
	my $t = POSIX::Termios->new;
	$t->getattr($self->{pty}->slave->fileno);
	return join ' ', $t->getlflag, $t->getiflag, $t->getoflag;
}

sub resize
{
	my ($self, $rows, $columns) = @_;
	@$self{qw(rows columns)} = ($rows, $columns);
	$self->clear;
	$self->size;
	kill 'WINCH', $self->{pid};
	return;
}

sub type { my ($self, $keys) = @_; syswrite $self->{pty}, $keys; return; }

# Takes in what comes for so long.
sub watch
{
	my ($self, $seconds) = @_;
	my $end = time + $seconds;
	while ((my $left = $end - time) > 0) {
		next unless IO::Select->new($self->{pty})->can_read($left);
		my $n = sysread $self->{pty}, my $bytes, 65536;
		return unless $n;
		$self->{raw} .= $bytes;
		$self->draw($bytes);
	}
	return;
}

# Until the screen looks like this; dies when it does not within its time.
sub wait_for
{
	my ($self, $what, $seconds) = @_;
	my $end = time + ($seconds // 30);
	until ($self->text =~ $what) {
		croak "the screen does not come to $what:\n" . $self->text if time > $end;
		$self->watch(0.1);
	}
	return 1;
}

sub text { my ($self) = @_; return join '', map { s/ +$//r . "\n" } @{ $self->{screen} }; }

# The exit code, or 128 and the signal.
sub ended
{
	my ($self, $seconds) = @_;
	my $end = time + ($seconds // 30);
	until (waitpid $self->{pid}, WNOHANG) {
		croak 'it does not end' if time > $end;
		$self->watch(0.05);
	}
	my $status = $?;
	$self->watch(0.1);
	return $status & 127 ? 128 + ($status & 127) : $status >> 8;
}

sub put
{
	my ($self, $char) = @_;
	my ($row, $column) = @{ $self->{at} };
	if ($row >= $self->{rows} || $column >= $self->{columns}) {
		$self->{unknown} .= "outside($row,$column)";
		return;
	}
	substr $self->{screen}[$row], $column, 1, $char;
	$self->{at}[1]++;
	# The last column holds the cursor until the next one goes on.
	return;
}

# A line down or up: at the edge of the region that scrolls its lines move instead.
sub down
{
	my ($self) = @_;
	if ($self->{at}[0] != $self->{bottom}) {
		$self->{at}[0]++ if $self->{at}[0] < $self->{rows} - 1;
		return;
	}
	splice @{ $self->{screen} }, $self->{top}, 1;
	splice @{ $self->{screen} }, $self->{bottom}, 0, ' ' x $self->{columns};
	return;
}

sub up
{
	my ($self) = @_;
	if ($self->{at}[0] != $self->{top}) {
		$self->{at}[0]-- if $self->{at}[0];
		return;
	}
	splice @{ $self->{screen} }, $self->{bottom}, 1;
	splice @{ $self->{screen} }, $self->{top}, 0, ' ' x $self->{columns};
	return;
}

sub draw
{
	my ($self, $bytes) = @_;
	my $s = ($self->{rest} // '') . $bytes;
	my $at = $self->{at};
	while (length $s) {
		if ($s =~ s/^([\x20-\x7e])//) { $self->put($1); }
		elsif ($s =~ s/^\r//) { $at->[1] = 0; }
		elsif ($s =~ s/^(?:\n|\eD)//) { $self->down; }
		elsif ($s =~ s/^\eM//) { $self->up; }
		elsif ($s =~ s/^\x08//) { $at->[1]-- if $at->[1]; }
		elsif ($s =~ s/^\t//) { $at->[1] = int($at->[1] / 8 + 1) * 8; }
		elsif ($s =~ s/^[\x00\x0e\x0f]//) { }
		elsif ($s =~ s/^\e\[(\?)?([\d;]*)([A-Za-z])//) { $self->control($1 // '', $2, $3); }
		elsif ($s =~ s/^\e[()][A-B0-2]// || $s =~ s/^\e[=>78]//) { }
		elsif ($s =~ /^\e[\[()]?[?\d;]*$/) { last; }
		else { $self->{unknown} .= sprintf '%02x', ord substr $s, 0, 1, ''; }
		$at = $self->{at};
	}
	$self->{rest} = $s;
	return;
}

sub control
{
	my ($self, $private, $numbers, $what) = @_;
	my @n = split /;/, $numbers;
	my $at = $self->{at};
	my $n = $n[0] || 1;
	my $row = \$self->{screen}[ $at->[0] ];
	if ($private || $what =~ /[mhl]/) { }
	elsif ($what eq 'r') { @$self{qw(at top bottom)} = ([0, 0], ($n[0] || 1) - 1, ($n[1] || $self->{rows}) - 1); }
	elsif ($what eq 'H') { $self->{at} = [($n[0] || 1) - 1, ($n[1] || 1) - 1]; }
	elsif ($what eq 'A') { $at->[0] = $at->[0] > $n ? $at->[0] - $n : 0; }
	elsif ($what eq 'B') { $at->[0] += $n; }
	elsif ($what eq 'C') { $at->[1] += $n; }
	elsif ($what eq 'D') { $at->[1] = $at->[1] > $n ? $at->[1] - $n : 0; }
	elsif ($what eq 'K' && ($numbers || 0) == 0) { $$row = substr($$row, 0, $at->[1]) . ' ' x ($self->{columns} - $at->[1]); }
	elsif ($what eq 'K' && $numbers == 1) { substr $$row, 0, $at->[1] + 1, ' ' x ($at->[1] + 1); }
	elsif ($what eq 'J' && ($numbers || 0) == 0) {
		$self->control('', '', 'K');
		$self->{screen}[$_] = ' ' x $self->{columns} for $at->[0] + 1 .. $self->{rows} - 1;
	} elsif ($what eq 'J') { $self->{screen} = [map { ' ' x $self->{columns} } 1 .. $self->{rows}]; }
	else { $self->{unknown} .= "CSI$numbers$what"; }
	return;
}

1;
