"""A ground truth that no answer could be compared with is an error that says why, when the data are loaded."""

import pytest

from lapo_verl.verify import check_ground_truth, client, is_correct

# What competition data hold, one truth a line. Not all of them can be computed with; all of them can be compared.
GOOD = r"""
72
-3.5
1,234
\frac{1}{2}
\$18
50\%
(A)
\text{Monday}
no solution
(1,2]
\{1,2\}
x=3
x^2+1
\boxed{5}
\begin{pmatrix}1\\2\end{pmatrix}
2^{2023}
\left(3, \frac{\pi}{2}\right)
p - q
\text{Evelyn}
6 - 5i
x^5 - x^4 + x^3 - x^2 + x - 1
\dfrac{1}{2}x
1,-2
\$ 32,\!348
1\frac{4}{5}
2516_8
4210_{5}
1011_2
1011_{\text{two}}
2AB_{16}
4343_6
AB
11,\! 111,\! 111,\! 100
.0000672
70 \text{ feet}
x \in [-2,7]
\left[ \frac{5}{2}, 5 \right)
y = 2x + 3
(x+1)(x-2)
\text{ellipse}
\cot x
15\mbox{ cm}^2
17\text{ square units}
2\mathbf{i} - 3\mathbf{j}
6\text{ P.M.}
10:30
5:30
5:30 \text{ p.m.}
5\!:\!30
\text{June 20}
\text{Friday, July 4}
F_{17}
x+2y=3
x^2 + y^2 = 25
\frac{x^2}{4} + \frac{y^2}{9} = 1
2 \le x \le 7
x<-3 \text{ or } x>2
x \ge 3
a_n = 2n+1
\{x : x > 2\}
\{x \mid x > 3\}
\{x | x > 3\}
\left\{ x \,\middle|\, x > 3 \right\}
\{ x \in \mathbb{R} : x \ne 0 \}
\{(x,y) : x^2+y^2 = 1\}
\{2n+1 : n \in \mathbb{Z}\}
\mathbb{R}
\mathbb{R} \setminus \{0\}
\mathbb{R}^+
n\pi, n \in \mathbb{Z}
(2n+1)\pi \text{ for integer } n
x = \frac{\pi}{4} + k\pi
x = \frac{\pi}{4} + k\pi, k \in \mathbb{Z}
\angle ABC
\triangle ABC
\overline{AB}
0.\overline{3}
0.\dot{3}
\lfloor x \rfloor
\lceil \frac{n}{2} \rceil
\left\lfloor \frac{n^2}{4} \right\rfloor
n!
\binom{n}{k}
\dbinom{n}{2}
C_{10}^{3}
{n \choose 2}
3:2
1:2:3
3 \colon 2
\arccos\frac13
\tan^{-1} 2
\log_2 3
\log_{10} 5
e^{i\pi/3}
\text{cis}(30^\circ)
|z|=1
\frac{1}{2} - \frac{\sqrt{3}}{2} i
\begin{cases} x+1 & x > 0 \\ 0 & x \le 0 \end{cases}
f(x) = \begin{cases} x^2 & \text{if } x > 0, \\ -x & \text{otherwise} \end{cases}
\begin{cases} x = 1 \\ y = 2 \end{cases}
\begin{array}{c} 1 \\ 2 \end{array}
\left[\begin{array}{cc} 1 & 2 \\ 3 & 4 \end{array}\right]
\begin{aligned} x &= 1 \\ y &= 2 \end{aligned}
\begin{matrix} 1 & 2 \\ 3 & 4\end{matrix}
x=1, y=2
(1,2), (3,4)
(a,b,c) = (1,2,3)
4, 6, 8 \text{ or } 10
\text{all } n \ge 2
n = 3^k
\text{all odd primes}
\sqrt[3]{4}
2^{1009}-1
2^{n-1}
\frac{(2n)!}{(n!)^2}
-\infty
\infty
+\infty
\pm \sqrt{2}
1 \pm 2i
x = 1 \pm \sqrt{2}
x \neq 0
p \equiv 1 \pmod 4
5 \pmod{7}
n \equiv 1 \pmod{3}
\text{undefined}
DNE
8 \pi \text{ in}^3
1.5 \times 10^8
1024 \text{ bytes}
C, D, E
\text{A, B, D}
\text{I and III}
I, II
\text{I, II}
A>B>C
a < b < c
d<b<a<c
\frac{\pi}{6}, \frac{5\pi}{6}
x^{2}+y^{2}-2x=0
\overrightarrow{AB}
\vec{a}
\mathbf{a} + \mathbf{b}
\langle 1,2,3\rangle
1 + 2 + \cdots + n
1,2,3,\ldots,10
\{1,2,\ldots,10\}
2,4,6,\dots
1, 2, ..., 10
\text{no real solutions}
8\frac{1}{2} \text{ inches}
\text{$x$ is odd}
\text{Yes, } x=3
"even"
``even''
\text{``even''}
3 R
\angle A=60^{\circ}
30^\circ 15'
15^\circ 30' 20''
12'
f'(x) = 2x
f(x)=x
f(x)=x \text{ and } f(x)=0
f(x)=cx
f^{-1}(x) = \frac{x-1}{2}
\emptyset
\varnothing
\phi
\{\}
(-\infty, -1) \cup (-1, 1) \cup (1, \infty)
[0,1] \cup \{2\}
(1,2) \cap \mathbb{Q}
A \cup B
x \in (0, 1)
x > 2 \text{ and } x < 5
x > 2 \land x < 5
x\in\mathbb{R}, x\neq 1
-1 < x < 1
|x| < 1
0<a\leq 1
a \geq -1 \text{ or } a \leq -3
\frac{a+b}{c} \text{ where } a=1
a^2 + b^2 = c^2
y - 3 = 2(x-1)
(x-1)^2 + (y+2)^2 = 9
r = 2\cos\theta
\rho = 3
x = 2t, y = 3t
\begin{pmatrix} 1/50 & 7/50 \\ 7/50 & 49/50 \end{pmatrix}
\begin{vmatrix} 1&2\\3&4\end{vmatrix}
\begin{bmatrix}1&2\\3&4\end{bmatrix}
\mathbf{0}
\mathbf{I}
\det A
\text{A}
\text{(A) and (C)}
AC
ABC
ABCD
\textbf{(D)}\ 12
True
\text{True}
\checkmark
5 \text{ or } 6
\text{5 or 6}
\text{between 3 and 4}
12\text{ cm} \times 5\text{ cm}
5 \times 6
3/4
3\frac{1}{7}
\$2.50
\$1{,}000
2.5\text{ million}
50\text{ cents}
25\text{¢}
25¢
¥200
₹ 500
£5
€5
20 \text{ } \Omega
9.8 \text{ m/s}^2
9.8 \mathrm{~m} / \mathrm{s}^2
6.02\times 10^{23}
45^{\circ} \mathrm{N}
30\% \text{ chance}
1\text{:}2
2^{10} \cdot 3^5
2^{2^{2}}
3^{2023} \cdot 2
2^{2^{100}}
10^{10^{10}}
100!
2023!
2^{10^{10}}
\frac{100!}{50!50!}
\sum_{k=1}^n k^2
\prod_{i=1}^{n} i
\int_0^1 x dx
\lim_{n\to\infty} a_n
\sin 20^\circ
\sin^2 x
\sec x + C
\frac{1}{2}\ln|x|+C
x^2 + C
\ln x
\log x
\log_{2}{3}
\sqrt{2}+\sqrt{3}
\sqrt{2+\sqrt{3}}
\frac{-1+\sqrt{5}}{2}
(-1)^n
a_{n+1}
a_1 + a_2
x_1 = 1, x_2 = 2
z_1
\alpha + \beta
\Delta
\theta = \frac{\pi}{4}
\max(a,b)
\max\{a,b\}
\min\{1, x\}
\gcd(m,n)
\text{lcm}(4,6)
\operatorname{lcm}(a,b)
\deg f
n \text{ is even}
n is even
\text{If } x>0, \text{ then } y<0
k \in \{1, 2, 3\}
x \notin \{0\}
\mathbb{Z}_{>0}
\mathbb{N}
\{0, 1\}^n
S = \{1,2,3\}
A = \{1\}, B = \{2\}
n \mid m
6 \mid n
a \perp b
\ell \parallel m
x \to \infty
P(x) = x^2 + 1
P \Rightarrow Q
p \land q
p \vee q
\neg p
p \to q
\forall x
\exists x > 0
A \subset B
5 \text{ R } 3
5 R 3
17 \text{ remainder } 2
1\text{st}
1^{\text{st}}
3rd
3^\text{rd}
second
H_2O
\text{H}_2\text{O}
CO_2
2, 3, \text{ and } 5
(2,3) \text{ and } (4,5)
1^2 + 2^2
\frac{3}{4} \text{ of an hour}
1 \frac{1}{2} \text{ hours}
2 \text{ hours } 30 \text{ minutes}
2 \text{ hours and } 30 \text{ minutes}
5 \text{ feet } 6 \text{ inches}
5'6"
2h 30m
12:00 \text{ PM}
10:00 a.m.
\text{10:00 a.m.}
07/04/2023
2023-07-04
1994
-0
0
0.1\%
33\frac{1}{3}\%
33 1/3\%
\frac{1}{3}\%
\approx 3.14
3.14...
0.333\ldots
\sim 5
> 5
\ge 3
< 1
\leq 10
\text{at most } 5
\text{more than } 10
12 + 5\sqrt{3} \text{ cm}^2
(12 + 5\sqrt{3}) \text{ cm}
x-intercept
\text{Team A}
\text{Dr. Smith}
\#5
7\#
a \star b
a \oplus b
\omega
\zeta(2)
\Gamma(1/2)
\phi(n)
F_n
F_{n+2} - 1
\frac{F_{n}}{2}
\binom{n}{2} + 1
\left(\frac{1}{2}\right)^{n}
\left(1+\frac{1}{n}\right)^n
1-\left(\frac{5}{6}\right)^{10}
\frac{1}{2}, -3
\sqrt{3}:1
\sqrt{3} : 2
\pi : 4
a:b:c = 1:2:3
x : y = 1 : 2
AB = CD
AB \parallel CD
AB=5
\frac{AB}{CD}
\text{slope} = 2
m\angle A = 60
\stackrel{\frown}{AB}
\widehat{AB}
1\,\text{cm}
1~\text{cm}
2\;\text{m}
\mathrm{e}^{2}
\mathrm{i}
\mathrm{Re}(z)
\bar{z}
\overline{z}
|z|^2
\|v\|
\lVert v \rVert
\left|\frac{1}{2}\right|
\sqrt{x^2}
\begin{pmatrix} a \\ b \end{pmatrix}
\begin{pmatrix} t \\ 2t \end{pmatrix}, t \in \mathbb{R}
t \begin{pmatrix} 1 \\ 2\end{pmatrix}
\begin{pmatrix} 1 \\ 2\end{pmatrix} + t \begin{pmatrix} 3 \\ 4 \end{pmatrix}
\frac{1}{5}\begin{pmatrix} 1 \\ 2\end{pmatrix}
x+y+z-3=0
3x^2 dx
\frac{dy}{dx} = 2x
\frac{d}{dx}
y' = 2x
y = Ce^{x}
x^{\frac{1}{2}}
x^{1/2}
(x^2+1)(x-1)
-(x-1)(x+1)
x(x-1)
2x^2y
abc
\frac{abc}{4R}
8 \text{ (mod } 11)
10\sqrt{2} \text{ units}
(0,0), \left(\frac12, 1\right)
\left( -\infty, \frac{1}{2} \right]
]0,1[
[0,1[
(0,1]
\mathbb{R}-\{1\}
\mathbb{R}\backslash\{1\}
\text{all real numbers}
\text{all real numbers except } 0
x \text{ is any real number}
2\sqrt{3} \, \text{cm}^{2}
2 \cdot 3 \cdot 5
2 \times 3^2
2^3 \times 3
\mathcal{O}(n)
O(n \log n)
\Theta(n^2)
\lambda = 1, 2, 3
\{-1, 0, 1\}
\left\{\frac{1}{2}\right\}
\left\{ (1,2), (3,4) \right\}
\left\{ \begin{array}{l} x=1 \\ y=2 \end{array} \right.
\left\{\begin{matrix} x=1 \\ y=2 \end{matrix}\right.
1 \leq n \leq 10, n \in \mathbb{N}
n=1,2,3
n = 1, 2, 3
n \geq 3
n=4k+1
n=2^k, k\ge 0
2^k \text{ for } k \ge 1
(n,m) = (2,3)
(x, y) = (1, 2), (3, 4)
m=2, n=3
(a,b)=(1,2) \text{ or } (2,1)
\frac{n-1}{2} \text{ if n is odd, } \frac{n}{2} \text{ if n is even}
\text{Alice}
Alice wins
\text{Alice wins}
\text{The first player}
\text{None}
none
\text{E}
e
i
-i
\pm i
\pm1
1+i
a+bi
2e^{i\pi}
x
x^2
n
m+n
m
\sqrt{ab}
a^b
a/b
\frac{a}{b}
\overline{abc}
\overline{1234}
1.2345
1,000,000.50
4.5 \times 10^{-3}
4.5e-3
1 : 1
{1, 2, 3}
{5}
1/2 + 1/3
1;2;3
(1;2)
1|2
5\text{\%}
50 \%
5 \;\%
\text{Cannot be determined}
\text{not enough information}
\text{Red, Blue}
\text{A} \to \text{B}
A \rightarrow B \rightarrow C
\uparrow
\frac{\text{rise}}{\text{run}}
\text{Area} = 5
V = \frac{4}{3}\pi r^3
x=\log_{2}5
x = -2 \text{ (double root)}
-2 \text{ with multiplicity } 2
\tfrac{1}{2}(a+b)
1 < x \text{ and } x < 2
x\geq 1, x\neq 2
\left(-\frac12,\frac12\right)\cup\left(\frac12,\infty\right)
\log _{2} 3
\sin ^{2} x
\mathrm{mol\cdot L^{-1}}
5 \times 10^{-3}\ \mathrm{mol\cdot L^{-1}}
{}_{10}C_3
\text{$x^{2}$ is odd}
\heartsuit
AB ⊥ CD
x → ∞
5 ⋅ 3
\lim_{x\to 0^+} f(x)
\textbf{(C)}\ \frac{1}{2}
\mathbf{Z}
f^{(n)}(x)
\frac{\partial f}{\partial x}
\sqrt {2}
\frac {1} {2}
-\frac {1} {2}
x^{*}
\therefore x=5
\mathbb{R}^{+}
20^\circ\text{C}
\text{°C}
a \bmod b
A \not\subset B
\left|z\right|
2018!+1
\overset{\frown}{AB}
m_{\max}=n^{2}-n-1
L_{\odot}
R_{\oplus} = 2
\textcircled{2}\textcircled{3}
\$3000 @ 11\%
\phantom -1
\phantom{-}1
m / / \alpha
m // n
\oslash
\mho(a)=0
\wp(z)
""".strip().splitlines()


@pytest.mark.parametrize("truth", GOOD)
def test_good(truth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(client, "ask")  # neither asks the server
    check_ground_truth(truth)
    assert is_correct(truth if "boxed" in truth else f"It is $\\boxed{{{truth}}}$.", truth)


@pytest.mark.parametrize("truth", GOOD[::4])
def test_no_other_answer_will_do(truth: str) -> None:
    assert not is_correct("It is $\\boxed{\\frac{271}{829}q_7}$.", truth)


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        ("", "empty"),
        ("nan", "missing"),
        ("NaN", "missing"),
        ("\\text{NaN}", "missing"),
        ("\\boxed{nan}", "missing"),
        ("  \n", "empty"),
        ("$$", "says nothing"),
        ("\\boxed{}", "says nothing"),
        ("{}", "says nothing"),
        ("\\frac{1}{2", "unbalanced"),
        ("\\sqrt{3}}", "unbalanced"),
        ("4\x002", "control"),
        ("48/2 = 24\n#### 24", "whole solution"),
        ("x +* 2", "parsed"),
        ("\\frac{}{}", "parsed"),
        ("\\frac{1}", "nothing follows"),
        ("\\sqrt{}", "hold nothing"),
        ("\\sqrt[3]", "nothing follows"),
        ("\\farc{1}{2}", "farc"),
        ("(1,2", "not closed"),
        ("1,2)", "does not belong"),
        (")(", "does not belong"),
        ("()", "hold nothing"),
        ("(1,)", "nothing follows"),
        ("\\{,\\}", "nothing comes before"),
        ("x=", "nothing follows"),
        ("=3", "nothing comes before"),
        ("x \\le", "nothing follows"),
        ("x^", "nothing follows"),
        ("x^{}", "hold nothing"),
        ("1 2 +", "nothing follows"),
        ("3\\cdot", "nothing follows"),
        ("\\int", "nothing follows"),
        ("A \\cup", "nothing follows"),
        ("\\{x :\\}", "nothing follows"),
        ("\\{ : x>2\\}", "nothing comes before"),
        ("\\begin{cases}x", "not closed"),
        ("\\begin{cases} & \\end{cases}", "hold nothing"),
        ("\\begin{cases}x\\\\y\\end{pmatrix}", "not begun"),
        ("\\begin{pmatrix}\\end{pmatrix}", "hold nothing"),
        ("\\text{ }", "says nothing"),
        ("\\text{?}", "says nothing"),
        ("\\ldots", "says nothing"),
        ("???", "does not belong"),
        ("||", "says nothing"),
        ("\\%", "nothing comes before"),
        ("`5`", "does not belong"),
        ("\\def\\x{5}", "not a command"),
        ("\\boxed{5}\\boxed{6}", "not a command"),
        ("<b>5</b>", "nothing comes before"),
        ('print("5")', "nothing comes before"),
        ("(" * 900 + "1" + ")" * 900, "too deeply"),
        ("7" * 2001, "longer"),
    ],
)
def test_bad(truth: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_ground_truth(truth)
    assert not is_correct("\\boxed{42}", truth)


@pytest.mark.parametrize("truth", ["nan", "NaN", "\\text{nan}"])
def test_what_is_missing_equals_nothing(truth: str) -> None:
    assert not is_correct(f"\\boxed{{{truth}}}", truth)
    assert not is_correct("\\boxed{nan}", truth)


def test_no_string() -> None:
    with pytest.raises(ValueError, match="int"):
        check_ground_truth(72)  # type: ignore[arg-type]
