//! A table in the making: rows come in, row groups of columns go out.

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use parquet::{
    basic::{LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::DataType,
};
use std::io::{self, Write};
use std::sync::Arc;

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A number of 64 bits without a sign.
    Number,
    Signed,
    Text,
    Truth,
    /// Nanoseconds since 1970.
    Wall,
}

/// One value of a row.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Null,
    Number(u64),
    Signed(i64),
    Text(String),
    Truth(bool),
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Signed(number)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Cell {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

/// A Parquet file in the making.
pub(super) struct Table<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Column>,
    rows: usize,
    /// Of the texts in memory.
    text_bytes: usize,
}

/// The values of a column since the last row group, without nulls, and where the nulls are.
struct Column {
    kind: Kind,
    numbers: Vec<i64>,
    texts: Vec<ByteArray>,
    truths: Vec<bool>,
    /// 1 for a value, 0 for null.
    levels: Vec<i16>,
}

impl<W: Write + Send> Table<W> {
    pub(super) fn new(out: W, columns: &[(&str, Kind)]) -> io::Result<Self> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let schema = schema(columns).map_err(io_error)?;
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties.build()));
        let column = |(_, kind): &(&str, Kind)| Column {
            kind: *kind,
            numbers: Vec::new(),
            texts: Vec::new(),
            truths: Vec::new(),
            levels: Vec::new(),
        };
        Ok(Self {
            writer: writer.map_err(io_error)?,
            columns: columns.iter().map(column).collect(),
            rows: 0,
            text_bytes: 0,
        })
    }

    /// Takes a row over; a value of another kind than its column is null.
    pub(super) fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        debug_assert_eq!(cells.len(), self.columns.len(), "a value for each column");
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.text_bytes += column.push(cell);
        }
        self.rows += 1;
        if self.rows >= ROWS_MAX || self.text_bytes >= TEXT_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the rest and the end of the file.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.writer.close().map_err(io_error)?;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.rows > 0 {
            let mut group = self.writer.next_row_group().map_err(io_error)?;
            for column in &mut self.columns {
                column.write(&mut group).map_err(io_error)?;
            }
            group.close().map_err(io_error)?;
        }
        (self.rows, self.text_bytes) = (0, 0);
        Ok(())
    }
}

impl Column {
    /// Bytes of text that have come in.
    fn push(&mut self, cell: &Cell) -> usize {
        let mut bytes = 0;
        let is_value = match (cell, self.kind) {
            (Cell::Number(number), Kind::Number | Kind::Wall) => {
                // The bits stay; the schema says that there is no sign.
                self.numbers.push(number.cast_signed());
                true
            }
            (Cell::Signed(number), Kind::Signed) => {
                self.numbers.push(*number);
                true
            }
            (Cell::Truth(truth), Kind::Truth) => {
                self.truths.push(*truth);
                true
            }
            (Cell::Text(text), Kind::Text) => {
                bytes = text.len();
                self.texts.push(ByteArray::from(text.as_str()));
                true
            }
            _ => false,
        };
        self.levels.push(i16::from(is_value));
        bytes
    }

    fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        match self.kind {
            Kind::Number | Kind::Signed | Kind::Wall => {
                write::<Int64Type, W>(group, &self.numbers, &self.levels)?;
            }
            Kind::Text => write::<ByteArrayType, W>(group, &self.texts, &self.levels)?,
            Kind::Truth => write::<BoolType, W>(group, &self.truths, &self.levels)?,
        }
        self.numbers.clear();
        self.texts.clear();
        self.truths.clear();
        self.levels.clear();
        Ok(())
    }
}

fn write<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: &[i16],
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("a column fewer than the schema has".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column
        .typed::<T>()
        .write_batch(values, Some(levels), None)?;
    column.close()
}

/// All columns may be null: a trace may not tell anything.
fn schema(columns: &[(&str, Kind)]) -> Result<TypePtr, ParquetError> {
    let field = |(name, kind): &(&str, Kind)| {
        let (physical, logical) = match kind {
            Kind::Number => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Kind::Signed => (Physical::INT64, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Truth => (Physical::BOOLEAN, None),
            Kind::Wall => (
                Physical::INT64,
                Some(LogicalType::timestamp(true, TimeUnit::NANOS)),
            ),
        };
        let field = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        field.build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let group = Type::group_type_builder("rows").with_fields(fields);
    Ok(Arc::new(group.build()?))
}

/// The error of the output, if it was that; a full disk must be told as one.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

const ROWS_MAX: usize = 65_536;
const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
