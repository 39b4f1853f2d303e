# SPDX-License-Identifier: BSD-3-Clause
# A client of the binary protocol that hides nothing: requests as bytes, answers as hashes.
package Hearth::Binary;
use strict;
use warnings;
use Carp qw(croak);
use Exporter 'import';

our @EXPORT_OK = qw(request noop parse shown);

my $number = 0;
our %opcode = map { $_ => $number++ } qw(get set add replace delete incr decr quit flush getq noop version getk getkq append
    prepend stat setq addq replaceq deleteq incrq decrq quitq flushq appendq prependq verbosity touch gat gatq);
@opcode{qw(sasl_list sasl_auth sasl_step gatk gatkq)} = 0x20 .. 0x24;

# The bytes of a request. extras, value, cas, opaque, and whatever of the head is to be another than it should: magic, key_len,
# extras_len, body_len. opcode: a name, or a number.
sub request
{
	my ($opcode, $key, %arg) = @_;
	$key //= '';
	my ($extras, $value) = ($arg{extras} // '', $arg{value} // '');
	return pack('CCnCCnNNQ>', $arg{magic} // 0x80, $opcode{$opcode} // $opcode, $arg{key_len} // length $key,
		$arg{extras_len} // length $extras, 0, 0, $arg{body_len} // length "$extras$key$value", $arg{opaque} // 0,
		$arg{cas} // 0) . $extras . $key . $value;
}

sub noop { my ($opaque) = @_; return request('noop', '', opaque => $opaque); }

# The answers at the start of $$bytes, taken off it.
sub parse
{
	my ($bytes) = @_;
	my @answers;
	while (length $$bytes >= 24) {
		my %answer;
		(@answer{qw(magic opcode)}, my $key_len, my $extras_len, $answer{type}, $answer{status}, my $body_len,
			@answer{qw(opaque cas)}) = unpack 'CCnCCnNNQ>', $$bytes;
		$answer{magic} == 0x81 or croak 'no answer of the binary protocol: ' . unpack 'H*', substr $$bytes, 0, 48;
		last if length $$bytes < 24 + $body_len;
		my $body = substr $$bytes, 24, $body_len;
		substr $$bytes, 0, 24 + $body_len, '';
		$answer{extras} = substr $body, 0, $extras_len;
		$answer{key} = substr $body, $extras_len, $key_len;
		$answer{value} = substr $body, $extras_len + $key_len;
		push @answers, \%answer;
	}
	return @answers;
}

# An answer as a line.
sub shown
{
	my ($answer) = @_;
	my $value = length $answer->{value} > 60 ? length($answer->{value}) . ' bytes' : $answer->{value};
	return sprintf '%02x %04x %s', $answer->{opcode}, $answer->{status},
	    join ' ', map { length ? s/([^!-~])/sprintf '%%%02x', ord $1/ger : '-' } @$answer{qw(extras key)}, $value;
}

# Hearth::Binary->new(a Hearth::Client)
sub new { my ($class, $client) = @_; return bless { client => $client }, $class; }
sub client { my ($self) = @_; return $self->{client}; }

# Sends requests, and reads answers up to that of a noop that is put behind them.
sub ask
{
	my ($self, @requests) = @_;
	my $mark = 0xfeed0000 + ++$self->{marks};
	$self->{client}->put(join '', @requests, noop($mark));
	my @answers;
	while (!@answers || $answers[-1]{opaque} != $mark) {
		my @more = parse(\$self->{client}{input});
		push @answers, @more;
		next if @more;
		$self->{client}->fill or croak 'the connection ended, answers so far: ' . join "\n", map { shown($_) } @answers;
	}
	pop @answers;
	return @answers;
}

# The one answer to a request, by its parts.
sub one
{
	my ($self, @parts) = @_;
	my @answers = $self->ask(request(@parts));
	@answers == 1 or croak "$parts[0]: " . @answers . ' answers';
	return $answers[0];
}

sub store
{
	my ($self, $opcode, $key, $value, %arg) = @_;
	return $self->one($opcode, $key, %arg, value => $value, extras => pack('NN', $arg{flags} // 0, $arg{exptime} // 0));
}
sub set { my ($self, @args) = @_; return $self->store('set', @args); }

# The value, or undef.
sub get
{
	my ($self, $key) = @_;
	my $answer = $self->one('get', $key);
	return $answer->{status} == 0 ? $answer->{value} : undef;
}

# incr and decr: delta, initial, exptime (0xffffffff: do not create).
sub count
{
	my ($self, $opcode, $key, $delta, $initial, $exptime, %arg) = @_;
	return $self->one($opcode, $key, %arg, extras => pack('Q>Q>N', $delta, $initial // 0, $exptime // 0xffffffff));
}

# name => value of stat.
sub stats
{
	my ($self, $what) = @_;
	my @answers = $self->ask(request('stat', $what // ''));
	my $last = pop @answers;
	croak 'stat does not end with an empty answer' if length "$last->{key}$last->{value}";
	return { map { ($_->{key} => $_->{value}) } @answers };
}

1;
