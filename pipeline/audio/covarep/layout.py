"""The 74 columns in COVAREP's order, with units and sources, and their rate."""

from pipeline.tables.frames import Column

RATE = 100  # frames a second
MOSI5 = ("VUV", "QOQ", "MDQ", "MCEP_14", "HMPDM_24")  # the field's pick for CMU-MOSI


def _numbered(name: str, count: int, unit: str, kind: str = "value") -> list[Column]:
    return [Column(f"{name}_{i}", unit, kind) for i in range(count)]


COLUMNS = (
    Column("F0", "Hz, 50 to 500 (Drugman, Alwan 2011)", "frequency"),
    Column("VUV", "1 voiced, 0 not (Drugman, Alwan 2011)", "flag"),
    Column("NAQ", "share of T0, above 0 (Alku et al. 2002)", "voiced"),
    Column("QOQ", "share of T0, 0 to 1 (Hacki 1989)", "voiced"),
    Column("H1H2", "dB (Hanson 1997)", "voiced"),
    Column("PSP", "ratio, 0 to about 1 (Alku et al. 1997)", "voiced"),
    Column("MDQ", "share of T0, 0 to .2 (Kane, Gobl 2013)", "voiced"),
    Column("peakSlope", "log10 of amplitude an octave (Kane, Gobl 2011)"),
    Column("Rd", "1, .3 to 2.5 (Degottex et al. 2011)"),
    Column("Rd_conf", "1, 0 to 1 (Degottex et al. 2011)"),
    Column("creak", "1, 0 to 1 (cues: Drugman et al. 2012, Ishi et al. 2008)"),
    *_numbered("MCEP", 25, "ln of amplitude (Roebel, Rodet 2005; Fukada et al. 1992)"),
    *_numbered("HMPDM", 25, "rad, -pi to pi (Degottex, Erro 2014)", "angle"),
    *_numbered("HMPDD", 13, "mel cepstrum of rad (Degottex, Erro 2014)"),
)
NAMES = tuple(column.name for column in COLUMNS)
