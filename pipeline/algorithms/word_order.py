"""Whether words stand in an order that English has: small words and word endings follow one another in few ways.

Each word becomes a class: one of fifty small words by itself, any other by its ending, a digit, or a mark. For each pair
of neighbours a table knows how much more often than by chance they stand together; the mean is the text's *order gain*.
Ordinary prompts gain something, the same words in random order lose. The table holds counts only, taken from the
paragraphs of the Python standard library's docstrings (1.2 MB of text).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from itertools import pairwise

STEP = 0.5  # bits of one step of the table
_ZERO = 8  # the cell that stands for 0 bits
_SMALL = (
    *(
        "a",
        "all",
        "also",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "can",
        "each",
        "either",
        "for",
        "from",
    ),
    *(
        "has",
        "have",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "may",
        "must",
        "no",
        "none",
        "not",
        "of",
        "on",
        "one",
        "only",
    ),
    *(
        "or",
        "other",
        "same",
        "should",
        "so",
        "that",
        "the",
        "then",
        "this",
        "to",
        "was",
        "when",
        "which",
        "will",
        "with",
    ),
    "you",
)
_ENDINGS = (
    *(
        "ing",
        "ed",
        "ly",
        "tion",
        "sion",
        "ment",
        "ness",
        "ity",
        "able",
        "ible",
        "ful",
        "less",
        "ous",
        "ive",
        "al",
        "er",
    ),
    *("or", "est", "ic", "ies", "es", "s", "y", "e"),
)
_MARKS = ".,;:!?()\"'-/`"
_BEGIN, _END, _WORD, _DIGITS, _OTHER = "^", "$", "W", "0", "#"
_INNER = (*_SMALL, *(f"-{ending}" for ending in _ENDINGS), _WORD, _DIGITS, _OTHER, *_MARKS)
_ROW = {name: place for place, name in enumerate((_BEGIN, *_INNER))}
_COLUMN = {name: place for place, name in enumerate((*_INNER, _END))}
_LEAST_STEM = 3  # letters before an ending


def order_gain(tokens: Sequence[str]) -> float:
    """Return the mean bits by which each token's class is likelier after the one before it than anywhere.

    Args:
        tokens: words, numbers and single marks in their order; line ends are passed over.

    Returns:
        Usually 0 to 1.5 for English prompts and below -0.1 for shuffled ones; 0 for no tokens.

    >>> order_gain("name the file after what the picture shows .".split()) > 0
    True
    >>> order_gain("the the file what picture after shows . name".split()) < 0
    True
    """
    classes = [_BEGIN, *(_class(token) for token in tokens if not token.isspace()), _END]
    total = sum(_TABLE[_ROW[one] * len(_COLUMN) + _COLUMN[other]] - _ZERO for one, other in pairwise(classes))
    return STEP * total / (len(classes) - 1) if len(classes) > 2 else 0.0  # noqa: PLR2004 - begin and end alone


def _class(token: str) -> str:
    if not token[:1].isalpha():
        return _DIGITS if token.isdigit() else token if token in _MARKS else _OTHER
    word = token.lower()
    if word in _ROW:
        return word
    ending = next((e for e in _ENDINGS if word.endswith(e) and len(word) >= len(e) + _LEAST_STEM), "")
    return f"-{ending}" if ending else _WORD


_TABLE = zlib.decompress(
    base64.b85decode(
        "c-p0ziIU?u4n%q1694~i_a!K~+{etu#;Uq)Sr<VN$V@=3)$Y2>&6ONhX~DUxIM-axB|2Aqcd=#XdcLz;&ZUt{FS+JkN_DNy#sgX("
        "ZS+)~b6Nj<=}tfXwt4r@+iZ38=K3{8nQQXzD!HsVS_#4V(Q>Ff_kDDBspe;Y@ZjL)c?|#4=A(>fIL{+`PfToH&fRVl*VA=ft+ZTH"
        "(k0dTB<ng)wR^UGM>lW0;oR>NDxbZuYS8y}*=4$JT=<2%Qp2$SW9zM4*X`ELbJpH-%anBYGp``?<bmee#BZZ&Dw)M#jap#^+qK4s"
        "-Gw^c<>ttJm*jHl{A<0{x-z!6fODEJW5`Rj>e-3EI{f(4{Ae?e&#xs{Y?pso#$Ff+hg3Y0SMTobog)NAv73D#=FPNjeYL3Z+$`zG"
        "uVd`sSxGxp$FnA`?%Rjg*KKB3Ck8kEWOUc<XNcRo>&MPCxxW^^_lZ$mI&ff`j!~Ipon_%l4)@LZQcI2{^foKbJZ2@rozPZ540k_s"
        "Wx3n46!jAs<-~x^<#FKr@{e7}G}_>bsH?KAtKv6IK2kdo7{B7KE*B%gsiD5yo%VV1=&bKlFjSW#>1iQpA0^8TZSLe(_qF&oysv(e"
        "Yku5w`Q^9w_P=<J_2hHD_N=8wpE#=Pb&hR}UYq}HDcixxpyRQ$eP$ZhV=N1Comi1GG`Bn1TAyi#(mInSHd@csVo!NE&iQ@TaNDB3"
        "J5P2z@%Ns3w(BQXqss;WWw!PYDONwBT)#7WxnIY!H3T&nsG0Xm?S?UREiCmftXWRpE9?-$42wV83896vU7?NDl6KPwDF-`O>WJZI"
        "t9G=Kmo=T^#A4@;K=3I-j<NfborKb{yLk&WmSmmaTUV}a26y$4+8S~MSOHwOlDzrWTf9}rJZ78^V$RpGF27zNRpi8a#bFNe43^EU"
        "`Y5rqG{7Usp_Ue-@{r`X+-Pnk{I(zH_(IZKKHlEl<yb#HC)4WRuDA40X+bRQS01@9uRlM3qS8n2JBN0jKEKB}zs_Fm7SDF7`x&Y)"
        "gdX^0N4Pim7_>9wko{zvpYQq#AGQE!jYC@NP4b;VQ6}Kqy#)=0`~gOU&Gogq46TrSt(do5F4u=t?l=6rtshB!r4!uvm(+7Z(b`gL"
        "1te-<cw+>ZOEwm9HSWY6)&IVYXZHSnzL%zo1DLOpJROI4jZ*y@mGAOAruc4qOSqd|I7@KHckS7^?(NGHG_`kM-U(givvu#8R|A=V"
        "&?x3f9QH3fAsM_#q=*+9EC*2$PeSW$;aAGCe2n1Z(9!8$lr%>Li;y~J4pJ}nnc@S0|F)$+nVm4KPJC&Jz8z}hE_a`Scqr+M|Jx5l"
        "nA)hnLdHH%`h(NI0EMCDC@<KJzg>6agvd4ifqd6rg@`U3A3gLO@{m^gcOU$2WB$qc*H9dS4iNzo<a18sVV`IV|GBpqjmd<jiTSKu"
        "u5(+?JULY3LxjPvP)GYV{Ch6~N&K7ll=55<H=-2OYy$Ln+k8+5JB*L30pR*t|GFgI%NCf}b126o-={cX8_3-*h|xk2Q8+%Jy4s5^"
        "A})>X+BpT5t;gXF_1jA&|AHI2)zSwt6(u48tw|K~m1G;Vu^s@s=CkAa{S$xJd9>!rd{Q+<@KAgOtw7a`AVxi<bnL~~Fui}4jz`5L"
        "P_W<{=XQ&httU>d%V-LAnM?sv4up2HQ40g>^1Bz4T8|H*c!u(I2}vgZi(ds?JX^@yAA}hK%S%5H6V*3QJpjJo7~lkl#Ma38U`PY!"
        "0jgmlI&ou?05i23LPxU5h`N_~cexNl736V6LdqiXRHewk1(=3`pHcL!kl$oFg$equKdV2|ujF2ze91p?_6gcnA38Z6!KiYrI}#zy"
        "g3W~<!&i#!=gRVH(Ej<0$$9C8m#u~cJCmH4>FY1`P`ZEc;$60H4B20ae&!bDcM)`~OJawQE<Ctbi=;!IU#ep8v6uF<>K3HO3>&k~"
        "6`MthUn<1*Sxo9e)*(o>#Ph{O5N&tTK=&l-?;9CESEX$88FB*Kn#JGnTdL`*m1V1s-3T7!^qlymg$VW;bVwh>|5_BGLgugdG<pG("
        "2BknG6o@;OU!8I$#@ETJY7nViv~K?u*FKf1px)IG7`qQSqKW$v4knUqlj?<oB{L|NV8;?H1(J`+5<%kqEKt6MV34s7EbTg^ILb$@"
        "O5{>x$I$MpzkEPJhISho5cdR8;VW?{e+9JYN=E4E#s4BGMcFCF+WFmHF_tKH`w5a>GkOelt@^G@4=2S31s@fQKd|w)%JwSz&*)~+"
        "4k0t!txKPXQ|kP-A#uKF>Z4TeEW}bJp3l^;H)HSn2qMDPhDajy47h#>EK;L;m8M;wW@!_o#<*2a?QY-53S@FRzJ^`PT}9z3l&^X6"
        "lnlQvG%z0UKTw>0WppE}{R1ZVSD`Wf%EqtIE4jBHI(;tdP6QH-0sD`1$IvZLTut1g-~9tmtQ$&1;IZ0(WduyHOw0$BSjG`PP;jKy"
        "c3-8-vskvK`>`;K0-V3X7vYy9MafZ^JLUL;B2*G8-YGD0Daxq^hm1B_!l%BkE*=lWmU<9y;)rT42(GPI;E@!gQ*DJxwV<YhO-t>j"
        "Xc`X01^HRiA%St-Ny{w*uE0}V8VS9L@{~-jVYGh850OG#GZ~fte9JOiQww%Qs@#~xl5Iv(en=-%li0i{$6~)OD>S1XkQ9k+Ts0oq"
        "wUHc0w_zyyI-qnUZd&F3L%>~ds}c|>hT&^(3-Hr~nM~^z)QmLdz(Gv12={zHQAAyxM(@~{Np|)~@K~~{ZBc5*mmm#5(`NSg7;KqB"
        "qpKejf{e3o7Y^fGMzBA%xsZuR<W8UzR%p&9tg4M`lJz{QI%3iqtQ8bImO{?z4AbCP%?>IapiaFMtrv`|T#70ziC}EkLq<UnvJ#lw"
        "LT2mvvwiJqyT5<T{Er)uTKFnEkIykHgL}v#92Lq#{8Q~q+bUsczp1t!eDpiiY}NMl5SSI(ZKP75!71{iqUM5;&oTyKPdjL(%v2|D"
        "7+(|hh5%qibA48-=R_cfH=TViM?@)><!i#GXSI-?l3vQ@V@s+(y!x7-Upu#UjhM?hQFV&gK{~}TsA-<!KOk5mQ5;J=+vfkA&yQI7"
        "dk^1n@pmr#T)<{eXpP|G<Z9269p793Y1@B2I{rMgVotvw3;%V??@m9x4@BM_id>}z${1G<t1W<t0LZ$!CX0%o#zFrns?-up<s;bC"
        "(p^W;s(Wqd3^|Pa0qwAq^|+T%Z;TV}Ekr9%<LD^=@WQwN;E`Suhlj1WsEb4Z<4`9kwha16-v)FLbfZTQK&@2aNnxZcz>2w|eFUGQ"
        "tLF#6A6if&(j+;Wp-2%-fhyo%4_o_$AOql}Lu$n8ULuud6%v|xq>MmF^aT#Md%!7C?R@oO<SQ&zpto6J96dUuPe+CDLiQ>`DAA@8"
        "UBeVf#M3WGPgkI;mC!z|hNqiQu+9{eiKdz=+NJH&cbK}hx7e*-K;Zama6#_z;i#9%TKw%@!FW#jk38wQtv&8%8Kb<5@++eU=A#t@"
        "M_Ztj=*D4NeMyx`dI3<c^Pb}Huo@5|S(DWZiB$XeE{63Zd;CXe4XQEoB2qI)5*{eTy)frwyhUWqOZT&sNeSE}{GfmgJ%aQUMywzu"
        "S5@~0ykm5#I$$sHBw__-t@2r<=)pmEhYAYtHHiYQV1-p>BAY2aDS0TjN*VxM*I4WqxCW&IwTNAkzDgqWD4uaVh&`(sbEW62;q|B&"
        "A=q6Y?3%|s5dy0?GZxrs1)Q6JbCQ^{vZxTAS#Jy!%e|}rC3eTa07ae?;zs$0!0nn7o{D~|POh?Ap{j?f$3#9b=PZ?~4zLx~g?;W5"
        "OHQc;62(3VCRn1``;9I+WS57Mhw<DIO#I+moo+t$&Y@=cK@YW|<c_XQpGwjbVBsn1g4#Zs;#*23V{R#~tSBsrY6bQ4(RZRPbTq_5"
        "IWZ_uskuAi@?M0E-WVh>mO@p%`vjTA%#cY83$s*vRhAx!jk-W&uoj%Rw-6``MTCr1V5JhMY=Ea+W3mbBwF5^95mG}k1yMlyP(J{J"
        "*i7M&XEZeeG1UMH0G{fODL}l!L`!wFZx$`Mw85ly0bb2*)K62l1e3z*hz;lt%tAipo!cHMw!5I0axX1!l&RZzy7Z{U#QptLF%&ej"
        "OR16@MHNm~t$10>jLdWQH5F3=>pZ12N4}Eb^_5V7Kkqy0c^5|xz_8vHA$y7KkjV)JaIq?k)sQptDYjcVeW`FT9ZR|$MPlf@l?Gjr"
        "M5t87rKuff72~?+^%v?BfzIEK9S-fH-29hYva#*;&?#On;_3f!TYo)Dj3LG@8)C<MYmn6x_gSr-p+1PcDP*?jdkBxLDP6DJNEkKd"
        "RIt02r+h6$bjr9anO_8G&%2$pNk9cPKAQ@P2>Phkh2zRZJ?ce-lWw;b1p>^evyQ;cWQ<yHwv>^SQMU;eC!H6-N7yxzN7B+1S(3I^"
        "p)46z%Xv-1s;EU^w3fUMTKy`d%k5OgsauAFL4*?wKz$<Y?|S<fqcupy4@w(>4(X<#0jEw|n`caWo2w!F5*g+)Pun*ruEFWrt?!P&"
        "?&E5MbRCrPdQ?`DTYE4+-A?rqn^oc2dTY(zF3W(bweiJTeokr|%_uZz?H*5~2VU6D|Ixz!^G((opVB>8vqPigPoED{mtN2#`b&IX"
        "i07`RsqW|}Fc7~1yvgd~SdZnh^1i7`k9uzbpipf9eq@N%II5rY-nkm;+Y2$ZJe$^N`~LvPPJ-k"
    )
)
"""One byte for each pair of classes, row by row: bits in steps of `STEP`, `_ZERO` added, clipped at 0 and 15."""
